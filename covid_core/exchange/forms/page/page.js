// Loads the model of this folder, and shows what it gives for image files. Nothing is sent.

import { squareOf } from "./image.js";

const place = (name) => document.getElementById(name);
const percent = (value) => (value > 0.9995 ? "over 99.9 %" : value < 0.0005 ? "under 0.1 %" : `${(100 * value).toFixed(1)} %`);
let about, model, litert;

async function start() {
  about = await (await fetch("export.json")).json();
  place("name").textContent = about.name;
  place("synthetic").hidden = !about.trained_on_synthetic;
  litert = await import("@litertjs/core"); // here, so that its error is shown
  await litert.loadLiteRt("litert/wasm/");
  model = await litert.loadAndCompile(about.model, { accelerator: "wasm" });
  place("files").disabled = false;
  place("files").addEventListener("change", ({ target }) => predictAll([...target.files]));
  const words = about.temperature ? "calibrated probabilities" : "scores (not probabilities)";
  place("about").textContent = `It gives ${words} of ${about.classes.join(", ")}.`;
}

async function predictAll(files) {
  place("results").replaceChildren();
  for (const file of files) {
    const shown = element("article", "");
    place("results").append(shown);
    try {
      const square = await squareOf(file, about.pixels);
      shown.append(picture(square), outcome(file.name, await predicted(square)));
    } catch (error) {
      const words = element("p", `${file.name}: ${error.message}`);
      words.className = "error";
      shown.append(words);
    }
  }
}

// Float32Array: one number per class.
async function predicted(square) {
  const input = new litert.Tensor(square, [1, about.pixels, about.pixels, 1]);
  const outputs = await model.run(input);
  const values = Float32Array.from(outputs[0].toTypedArray());
  [input, ...outputs].forEach((tensor) => tensor.delete());
  return values;
}

function picture(square) {
  const canvas = element("canvas", "");
  canvas.width = canvas.height = about.pixels;
  const image = new ImageData(about.pixels, about.pixels);
  square.forEach((grey, pixel) => image.data.set([grey, grey, grey, 255], 4 * pixel));
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The image as the model is given it");
  return canvas;
}

function outcome(name, values) {
  const figure = element("figure", ""), table = element("table", "");
  const rows = about.classes.map((label, number) => [label, values[number]]).sort((one, other) => other[1] - one[1]);
  for (const [label, value] of rows) {
    const row = element("tr", ""), number = element("td", percent(value));
    number.dataset.label = label;
    number.dataset.value = value;
    row.append(element("th", label), number);
    table.append(row);
  }
  figure.append(element("figcaption", name), table);
  return figure;
}

function element(kind, text) {
  return Object.assign(document.createElement(kind), { textContent: text });
}

start().catch((error) => {
  place("about").textContent = `The model cannot be loaded: ${error.message}`;
  place("about").className = "error";
});
