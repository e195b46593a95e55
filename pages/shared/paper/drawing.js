/* Figures as SVG and PNG by Plotly's toImage; and a page for the print dialog. */
const DOTS = 300, SCALE = DOTS / 96, PER_METRE = Math.round(DOTS / 0.0254);
const begun = (globalThis.secondLookPaper ??= new Map());  // tasks by id: a rerun must not begin one anew

const script = address => globalThis.secondLookPlotly ??= new Promise((done, fail) => {
  const element = Object.assign(document.createElement("script"), { src: address });
  element.onload = () => done(globalThis.Plotly);
  element.onerror = () => {
    delete globalThis.secondLookPlotly;
    fail(new Error("The browser did not get Plotly from the server. Try it again."));
  };
  document.head.append(element);
});

async function vector(plotly, { figure }) {
  const { data, layout } = JSON.parse(figure), { width, height = 340 } = layout;
  const text = await plotly.toImage({ data, layout }, { format: "svg", width, height, imageDataOnly: true });
  return { width, height, text };
}

function check(bytes) {
  let sum = -1;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum >>> 1 ^ (sum & 1 && 0xedb88320);
  }
  return ~sum >>> 0;
}

async function withDots(blob) {  // as a pHYs chunk behind IHDR, which ends at byte 33
  const chunk = new DataView(new ArrayBuffer(21)), bytes = new Uint8Array(chunk.buffer);
  chunk.setUint32(0, 9);
  bytes.set(new TextEncoder().encode("pHYs"), 4);
  chunk.setUint32(8, PER_METRE);
  chunk.setUint32(12, PER_METRE);
  chunk.setUint8(16, 1);
  chunk.setUint32(17, check(bytes.slice(4, 17)));
  return new Blob([blob.slice(0, 33), bytes, blob.slice(33)], { type: "image/png" });
}

async function picture(kind, { width, height, text }) {
  if (kind === "svg") return new Blob([text], { type: "image/svg+xml" });
  const image = Object.assign(new Image(), { src: `data:image/svg+xml,${encodeURIComponent(text)}` });
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(width * SCALE), Math.round(height * SCALE)];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return withDots(await new Promise(done => canvas.toBlob(done, "image/png")));
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const base64 = blob => new Promise((done, fail) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => fail(reader.error);
  reader.readAsDataURL(blob);
});

async function draw(task, { figures, kinds, isSaved, plotly }, note, done) {
  const made = [], library = await script(plotly);
  for (const [place, figure] of figures.entries()) {
    if (task.cancelled) return;
    note(isSaved ? "The picture is being drawn." : `Picture ${place + 1} of ${figures.length}`);
    const drawn = await vector(library, figure);
    for (const kind of kinds) {
      const blob = await picture(kind, drawn);
      if (isSaved) save(blob, `${figure.key}.${kind}`);
      else made.push({ key: figure.key, kind, content: await base64(blob) });
    }
  }
  note(isSaved ? "" : "The file is being made.");
  if (!isSaved && !task.cancelled) done(made);
}

async function keep({ page, name }) {
  save(new Blob([page], { type: "text/html" }), name);
}

// A frame takes over the policy of its page, which admits scripts from blobs and none that stand in the text.
function withoutInlineScripts(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  for (const script of page.querySelectorAll("script:not([src], [type])")) {
    script.src = URL.createObjectURL(new Blob([script.textContent], { type: "text/javascript" }));
    script.textContent = "";
  }
  return `<!doctype html>${page.documentElement.outerHTML}`;
}

async function print(task, { page }, note) {
  note("The pages are being laid out.");
  const frame = document.createElement("iframe");
  frame.style = "position: fixed; left: -9999px; width: 794px; height: 1123px; border: 0";
  frame.title = "Pages to print";
  frame.srcdoc = withoutInlineScripts(page);
  const loaded = new Promise(done => frame.onload = done);
  document.body.append(frame);
  await loaded;
  const missing = () => [...frame.contentDocument.querySelectorAll(".plot")].some(one => !one.querySelector(".main-svg"));
  while (missing() && !task.cancelled) await new Promise(done => setTimeout(done, 100));
  frame.contentWindow.onafterprint = () => setTimeout(() => frame.remove(), 1000);
  if (!task.cancelled) frame.contentWindow.print();
  task.isPrinted = true;
  note("");
}

export default function ({ data, parentElement, setTriggerValue }) {
  const status = parentElement.querySelector("p"), cancel = parentElement.querySelector("button");
  const task = begun.get(data.id) ?? {};
  const note = text => status.textContent = text;
  cancel.onclick = () => {
    task.cancelled = true;
    setTriggerValue("cancelled", true);
  };
  if (!begun.has(data.id)) {
    begun.set(data.id, task);
    cancel.hidden = Boolean(data.isSaved || data.page);
    const work = data.page && data.isSaved ? keep(data) : data.page ? print(task, data, note) : draw(task, data, note, made => setTriggerValue("pictures", made));
    work.catch(error => note(`No picture was made: ${error.message}`));
  }
  return () => {
    task.cancelled = !data.isSaved;
    if (!task.isPrinted) begun.delete(data.id);  // what is mounted anew begins anew
  };
}
