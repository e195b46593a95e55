// Everything around the canvas: buttons, the opacity slider, words. All text is set as text, never as HTML.

const ICONS = {
  window: { line: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z", full: "M12 3.5a8.5 8.5 0 0 1 0 17z" },
  pan: { line: "M12 3v18M3 12h18M9.5 5.5 12 3l2.5 2.5M9.5 18.5 12 21l2.5-2.5M5.5 9.5 3 12l2.5 2.5M18.5 9.5 21 12l-2.5 2.5" },
  fit: { line: "M4 9V5.5A1.5 1.5 0 0 1 5.5 4H9M15 4h3.5A1.5 1.5 0 0 1 20 5.5V9M20 15v3.5a1.5 1.5 0 0 1-1.5 1.5H15M9 20H5.5A1.5 1.5 0 0 1 4 18.5V15" },
  out: { line: "M6 12h12" },
  in: { line: "M6 12h12M12 6v12" },
  invert: { line: "M4.5 4.5h15v15h-15z", full: "M19.5 4.5v15h-15z" },
  reset: { line: "M4.5 12a7.5 7.5 0 1 0 2.4-5.5M4.5 4v4h4" },
  heat: { line: "M12 3c.8 4.2 5.5 5.8 5.5 11a5.5 5.5 0 0 1-11 0c0-2.2 1-3.7 2.2-4.8.2 1.7.8 2.6 1.8 3C10.3 9 10.6 5.8 12 3z" },
  lungs: { line: "M12 3.5v7M9.5 8C6.5 8 4 13 4 17.5c0 2.3 1.6 2.8 3.2 2.2 2-.7 2.8-1.2 2.8-3.2V8.5zM14.5 8c3 0 5.5 5 5.5 9.5 0 2.3-1.6 2.8-3.2 2.2-2-.7-2.8-1.2-2.8-3.2V8.5z" },
  box: { line: "M4.5 6.5h15v11h-15z" },
  full: { line: "M13.5 4H20v6.5M20 4l-6.5 6.5M10.5 20H4v-6.5M4 20l6.5-6.5" },
  measure: { line: "M3.5 15.5 15.5 3.5l5 5-12 12zM7.5 11.5l2 2M10.5 8.5l2.5 2.5M13.5 5.5l2 2" },
  rotate: { line: "M19.5 12a7.5 7.5 0 1 1-2.4-5.5M19.5 4v4h-4" },
  flip: { line: "M12 3v18M9 7 4 17h5zM15 7l5 10h-5z" },
  link: { line: "M10 14.5a4 4 0 0 0 5.7 0l3.1-3.1a4 4 0 0 0-5.7-5.7l-1 1M14 9.5a4 4 0 0 0-5.7 0l-3.1 3.1a4 4 0 0 0 5.7 5.7l1-1" },
};
const KEYS = [
  ["Drag", "the chosen tool: window, or pan"],
  ["Right button + drag", "window: to the right wider (softer), down a higher centre (darker)"],
  ["Shift + drag, middle button", "pan in place of the window, window in place of pan"],
  ["m", "measure a distance: drag from end to end; once more removes it"],
  ["Wheel, two fingers", "zoom around the pointer"],
  ["Double click", "the whole image"],
  ["Arrows", "move the image"],
  ["Shift + arrows", "window: left and right its width, up and down its centre"],
  ["+  −", "zoom in and out"],
  ["0", "the whole image"],
  ["1", "one pixel of the image on one of the screen"],
  ["2  3  4", "window for lungs, for bones, over the full range"],
  ["i", "invert"],
  ["t  v", "turn by 90 degrees clockwise, flip left to right (in the viewer alone)"],
  ["r", "the window as it was at first"],
  ["h", "heat map on or off"],
  ["[  ]", "heat map fainter or stronger"],
  ["l", "lungs on or off"],
  ["b", "box that the network is shown, on or off"],
  ["f", "full screen, and back"],
  ["p  n", "previous and next image of the work-list"],
  ["?", "these keys; Escape leaves them"],
];

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const [kind, d] of Object.entries(ICONS[name])) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", d);
    path.setAttribute("class", kind);
    svg.append(path);
  }
  return svg;
}

// A button with a picture, a name that is read out, a word that is shown where there is room, and its key.
function button(name, { label, word, key, press, toggles }) {
  const title = key ? `${label} (${key})` : label;
  const made = element("button", { type: "button", "aria-label": label, title, "data-name": name, onclick: press });
  if (name in ICONS) made.append(icon(name));
  if (word) made.append(element("span", { class: name in ICONS && name !== "reread" ? "word" : "sign", text: word }));
  if (toggles) made.setAttribute("aria-pressed", "false");
  return made;
}

function group(label, ...children) {
  return element("div", { class: "group", role: "group", "aria-label": label }, ...children);
}

// The row of controls. `act` holds what each of them does.
function toolbar(act) {
  const buttons = {
    window: button("window", { label: "Drag changes the window", word: "Window", press: () => act.tool("window"), toggles: true }),
    pan: button("pan", { label: "Drag moves the image", word: "Pan", press: () => act.tool("pan"), toggles: true }),
    measure: button("measure", { label: "Drag measures a distance", word: "Measure", key: "m", press: act.measure, toggles: true }),
    fit: button("fit", { label: "Whole image", key: "0", press: act.fit }),
    one: button("one", { label: "One image pixel per screen pixel", key: "1", word: "1:1", press: act.one }),
    out: button("out", { label: "Zoom out", key: "−", press: () => act.zoom(1 / STEP) }),
    in: button("in", { label: "Zoom in", key: "+", press: () => act.zoom(STEP) }),
    invert: button("invert", { label: "Invert", word: "Invert", key: "i", press: act.invert, toggles: true }),
    reset: button("reset", { label: "Reset the window", word: "Reset", key: "r", press: act.reset }),
    lung: button("lung", { label: "Window for lungs", word: "Lung", key: "2", press: () => act.preset("lung") }),
    bone: button("bone", { label: "Window for bones", word: "Bone", key: "3", press: () => act.preset("bone") }),
    range: button("range", { label: "Window over the full range", word: "Full", key: "4", press: () => act.preset("range") }),
    rotate: button("rotate", { label: "Turn clockwise", key: "t", press: act.rotate }),
    flip: button("flip", { label: "Flip left to right", key: "v", press: act.flip }),
    reread: button("reread", { label: "Turn it and read again", word: "Turn it and read again", press: act.reread }),
    heat: button("heat", { label: "Heat map", word: "Heat map", key: "h", press: act.heat, toggles: true }),
    lungs: button("lungs", { label: "Lungs", word: "Lungs", key: "l", press: act.lungs, toggles: true }),
    box: button("box", { label: "What the network is shown", word: "Box", key: "b", press: act.box, toggles: true }),
    link: button("link", { label: "Zoom and position together", word: "Together", press: act.link, toggles: true }),
    full: button("full", { label: "Full screen", key: "f", press: act.full }),
    help: button("help", { label: "Keys and mouse", key: "?", word: "?", press: act.help }),
  };
  const slider = element("input", {
    type: "range", min: "0", max: "100", step: "5", "aria-label": "Opacity of the heat map",
    oninput: (event) => act.opacity(event.target.value / 100),
  });
  const opacity = element("output", { class: "figure" });
  const heat = group("Heat map", buttons.heat, element("label", { class: "slider" }, slider, opacity));
  const row = element(
    "div", { class: "toolbar", role: "group", "aria-label": "Controls" },
    group("Tool", buttons.window, buttons.pan, buttons.measure),
    group("Zoom", buttons.out, buttons.in, buttons.fit, buttons.one),
    group("Greys", buttons.lung, buttons.bone, buttons.range, buttons.invert, buttons.reset),
    group("Turn", buttons.rotate, buttons.flip, buttons.reread),
    heat, buttons.lungs, buttons.box, buttons.link,
    element("span", { class: "gap" }), buttons.full, buttons.help,
  );
  return { row, buttons, heat, slider, opacity };
}

// The sheet of keys over the images.
function helpSheet(close) {
  const list = element("dl");
  for (const [keys, does] of KEYS) list.append(element("dt", { text: keys }), element("dd", { text: does }));
  const leave = button("close", { label: "Close", word: "Close", press: close });
  return element("div", { class: "help", role: "dialog", "aria-label": "Keys and mouse", tabindex: "-1", hidden: "" }, list, leave);
}

// The colours of a heat map in words.
function legend() {
  const ramp = element("span", { class: "ramp", "aria-hidden": "true" });
  const [title, low, high] = ["title", "low", "high"].map((name) => element("span", { class: name }));
  const heat = element("span", { class: "key" }, title, low, ramp, high);
  const lungs = element("span", { class: "key" }, element("span", { class: "line", "aria-hidden": "true" }), "Outline of the lungs");
  const box = element("span", { class: "key" }, element("span", { class: "line box", "aria-hidden": "true" }), "What the network is shown");
  return { row: element("div", { class: "legend" }, heat, lungs, box), heat, lungs, box, ramp, title, low, high };
}

function gradientOf(signed) {
  const colours = signed ? [...LOWERS].reverse().concat([[128, 128, 128]], RAISES) : INFERNO;
  return `linear-gradient(to right, ${colours.map((colour) => `rgb(${colour.join(" ")})`).join(", ")})`;
}
