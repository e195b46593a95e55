// The map of images: points on a canvas, a card with the image that is pointed at, lasso, keys. Nothing here asks the page
// to run again but a choice that is finished, an image to open, and pictures that are lacking.

const CARD = 128; // CSS pixels of the image on the card
const REACH = 14; // CSS pixels from which a point answers
const STEP = 1.4; // zoom per key or button
const LARGEST = 60; // zoom
const STILL = 5; // CSS pixels that a click may move
const QUIET = 500; // milliseconds without change until it is read out
const REMEMBERED = 12;
const MARGIN = 18; // CSS pixels around the whole map
const TOOLS = {
  lasso: ["Lasso", "M4 9c0-3 3.6-5 8-5s8 2 8 5-3.6 5-8 5c-1.7 0-3.200-.3-4.500-.8M7.500 13a2 2 0 1 0-3 1.700c0 2-.5 3.300-1.500 4.300"],
  box: ["Rectangle", "M5 6h14v12H5z"],
  move: ["Move", "M12 3v18M3 12h18M12 3l-2.500 2.500M12 3l2.500 2.500M12 21l-2.500-2.500M12 21l2.500-2.500M3 12l2.500-2.500M3 12l2.500 2.500M21 12l-2.500-2.500M21 12l-2.500 2.500"],
};
const HINTS = {
  lasso: "Point at an image to see it, click to open it, draw around images to choose them. The wheel zooms, Shift-drag moves.",
  box: "Point at an image to see it, click to open it, draw a rectangle to choose images. The wheel zooms, Shift-drag moves.",
  move: "Point at an image to see it, click to open it. Drag moves, the wheel zooms.",
};
const KEYS = " Keys: arrows go from image to image, Enter opens, Space chooses, + and - zoom, 0 shows all, Escape takes back.";
const TOUCH = "Tap an image to see it, tap it again to open it. Two fingers zoom; with Lasso or Rectangle one finger chooses.";

const maps = new WeakMap(); // by the element that Streamlit gives
const byKey = new Map(); // the map that is on the page under a key
const remembered = new Map(); // view and tool by key: outlive reruns
const sheets = new Map(); // "key|number" to {of, url, image}

const limited = (value, low, high) => Math.min(high, Math.max(low, value));
const coarse = () => matchMedia("(pointer: coarse)").matches;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

function opened(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { header, rest: bytes.slice(4 + length) };
}

class ImageMap {
  constructor(parent) {
    this.parent = parent;
    this.canvas = element("canvas", { role: "img" });
    this.picture = element("canvas", { width: 2 * CARD, height: 2 * CARD });
    this.name = element("strong");
    this.words = element("span");
    this.card = element("div", { class: "card", hidden: "" }, this.picture, this.name, this.words);
    this.stage = element("div", { class: "stage", tabindex: "0", role: "application", "aria-roledescription": "map of images" }, this.canvas, this.card);
    this.tools = Object.fromEntries(Object.entries(TOOLS).map(([tool, [label, path]]) => {
      const made = element("button", { type: "button", title: label, "aria-label": label }, icon(path));
      made.onclick = () => this.use(tool);
      return [tool, made];
    }));
    const button = (text, label, does) => {
      const made = element("button", { type: "button", title: label, "aria-label": label }, text);
      made.onclick = does;
      return made;
    };
    this.clear = button("Clear", "Take the choice back", () => this.choose([]));
    this.legend = element("div", { class: "legend", role: "group", "aria-label": "Show or hide" });
    this.bar = element(
      "div", { class: "toolbar" },
      element("div", { class: "group" }, ...Object.values(this.tools)),
      element("div", { class: "group" },
        button("+", "Zoom in", () => this.zoomAt(STEP, this.middle)),
        button("−", "Zoom out", () => this.zoomAt(1 / STEP, this.middle)),
        button("All", "Show all images", () => this.fit())),
      this.clear, element("span", { class: "gap" }), this.legend,
    );
    this.hint = element("p", { class: "hint" });
    this.live = element("div", { class: "unseen", "aria-live": "polite" });
    this.root = element("div", { class: "image-map" }, this.bar, this.stage, this.hint, this.live);
    parent.append(this.root);
    this.pointers = new Map();
    this.hidden = new Set();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.stage);
    this.listen();
  }

  update(component, { header, rest }) {
    this.send = component.setTriggerValue;
    const n = header.images;
    if (this.header?.id !== header.id) this.cursor = -1;
    this.header = header;
    this.places = new Float32Array(rest.buffer, rest.byteOffset, 2 * n);
    this.codes = new Uint16Array(rest.buffer, rest.byteOffset + 8 * n, n);
    const from = 8 * n + 2 * n;
    this.at = new Uint32Array(rest.slice(from, from + 4 * n).buffer);
    this.chosen = new Set(header.chosen);
    const before = remembered.get(header.key);
    this.memory = before?.id === header.id ? before
      : { id: header.id, tool: before?.tool ?? (coarse() ? "move" : "lasso"), zoom: 1, x: 0.5, y: 0.5 };
    remembered.delete(header.key);
    remembered.set(header.key, this.memory);
    if (remembered.size > REMEMBERED) remembered.delete(remembered.keys().next().value);
    byKey.set(header.key, this);
    const names = header.groups.map((group) => group.name).join("|");
    if (names !== this.legendOf) this.hidden.clear();
    this.legendOf = names;
    this.measure();
    this.tell();
    this.resize();
    this.draw();
  }

  // The map's box, with equal scales on both axes: distances of components are true.
  measure() {
    const { places } = this;
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (let i = 0; i < places.length; i += 1) {
      low[i % 2] = Math.min(low[i % 2], places[i]);
      high[i % 2] = Math.max(high[i % 2], places[i]);
    }
    const span = [0, 1].map((axis) => Math.max(high[axis] - low[axis], 1e-6));
    this.box = { low, span };
  }

  tell() {
    const { header, memory } = this;
    for (const [tool, made] of Object.entries(this.tools)) made.setAttribute("aria-pressed", String(tool === memory.tool));
    this.clear.hidden = !this.chosen.size;
    this.canvas.setAttribute("aria-label", header.alt);
    this.stage.setAttribute("aria-label", `${header.title}.${KEYS}`);
    this.stage.style.height = `min(${header.height}px, 75vh)`;
    this.stage.dataset.tool = memory.tool;
    this.stage.style.touchAction = memory.tool === "move" && memory.zoom <= 1 ? "pan-y" : "none";
    this.hint.textContent = coarse() ? TOUCH : HINTS[memory.tool] + KEYS;
    const counts = new Array(header.groups.length).fill(0);
    for (const code of this.codes) counts[code] += 1;
    this.legend.replaceChildren(...header.groups.map((group, code) => {
      const dot = element("span", { class: "dot" });
      dot.style.background = group.colour;
      const made = element("button", { type: "button", "aria-pressed": String(!this.hidden.has(code)) }, dot, `${group.name} ${counts[code].toLocaleString("en")}`);
      made.title = "Show or hide these images";
      made.onclick = () => {
        this.hidden.has(code) ? this.hidden.delete(code) : this.hidden.add(code);
        this.tell();
        this.draw();
      };
      return made;
    }));
  }

  resize() {
    const { clientWidth, clientHeight } = this.stage;
    const [width, height] = [clientWidth, clientHeight].map((length) => Math.round(length * devicePixelRatio));
    if (!this.header || !width || !height || (width === this.canvas.width && height === this.canvas.height)) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.draw();
  }

  // CSS pixels of the map's units, and where its middle lies.
  get scale() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const { low, span } = this.box;
    const fit = Math.min((width - 2 * MARGIN) / span[0], (height - 2 * MARGIN) / span[1]);
    const { zoom, x, y } = this.memory;
    const by = Math.max(fit, 1e-9) * zoom;
    return { by, left: width / 2 - (low[0] + x * span[0]) * by, top: height / 2 + (low[1] + y * span[1]) * by };
  }

  place(row, { by, left, top } = this.scale) {
    return { x: left + this.places[2 * row] * by, y: top - this.places[2 * row + 1] * by };
  }

  shows(row) {
    return !this.hidden.has(this.codes[row]);
  }

  draw() {
    if (this.drawing || !this.header) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.paint();
    });
  }

  paint() {
    const context = this.canvas.getContext("2d");
    const ratio = devicePixelRatio;
    const { clientWidth: width, clientHeight: height } = this.stage;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const scale = this.scale;
    const crowded = this.header.images > 6000 ? 2 : this.header.images > 1500 ? 2.6 : 3.4;
    const narrow = width < 600 ? 0.75 : 1;
    const radius = crowded * narrow * limited(Math.sqrt(this.memory.zoom), 1, 3);
    const dots = this.header.groups.map((group) => this.dot(group.colour, radius, ratio));
    const half = radius + 1;
    const all = !this.chosen.size;
    for (const marked of all ? [true] : [false, true]) {
      context.globalAlpha = marked ? 0.9 : 0.16;
      for (let code = 0; code < dots.length; code += 1) {
        if (this.hidden.has(code)) continue;
        for (let row = 0; row < this.codes.length; row += 1) {
          if (this.codes[row] !== code || (!all && this.chosen.has(row) !== marked)) continue;
          const x = scale.left + this.places[2 * row] * scale.by, y = scale.top - this.places[2 * row + 1] * scale.by;
          if (x < -half || y < -half || x > width + half || y > height + half) continue;
          context.drawImage(dots[code], x - half, y - half, 2 * half, 2 * half);
        }
      }
    }
    context.globalAlpha = 1;
    const ink = getComputedStyle(this.root).color;
    if (this.cursor >= 0 && this.shows(this.cursor)) {
      const at = this.place(this.cursor, scale);
      context.strokeStyle = ink;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(at.x, at.y, radius + 4, 0, 7);
      context.stroke();
    }
    if (this.path?.length) {
      context.strokeStyle = ink;
      context.lineWidth = 1.5;
      context.setLineDash([5, 4]);
      context.beginPath();
      this.outline().forEach(({ x, y }, i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.closePath();
      context.stroke();
      context.setLineDash([]);
      context.globalAlpha = 0.08;
      context.fillStyle = ink;
      context.fill();
      context.globalAlpha = 1;
    }
  }

  dot(colour, radius, ratio) {
    const side = Math.ceil(2 * (radius + 1) * ratio);
    const made = document.createElement("canvas");
    made.width = made.height = side;
    const context = made.getContext("2d");
    context.fillStyle = colour;
    context.beginPath();
    context.arc(side / 2, side / 2, radius * ratio, 0, 7);
    context.fill();
    return made;
  }

  // Pointing

  at_(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: event.clientX - box.left - this.stage.clientLeft, y: event.clientY - box.top - this.stage.clientTop };
  }

  // Every point is looked at: 21,165 take a third of a millisecond.
  nearest({ x, y }, reach = REACH) {
    const scale = this.scale;
    let best = -1, least = reach * reach;
    for (let row = 0; row < this.codes.length; row += 1) {
      const dx = scale.left + this.places[2 * row] * scale.by - x, dy = scale.top - this.places[2 * row + 1] * scale.by - y;
      const apart = dx * dx + dy * dy;
      if (apart < least && this.shows(row)) [best, least] = [row, apart];
    }
    return best;
  }

  point(row, aloud = false) {
    if (row !== this.cursor) {
      this.cursor = row;
      this.draw();
    }
    this.card.hidden = row < 0;
    if (row < 0) return;
    const { names, words, groups } = this.header;
    const group = groups[this.codes[row]];
    this.name.textContent = names[row];
    this.words.textContent = words[row];
    this.picture.style.borderColor = group.colour;
    const at = this.place(row);
    const { clientWidth: width, clientHeight: height } = this.stage;
    const { offsetWidth, offsetHeight } = this.card;
    const right = at.x + 16 + offsetWidth < width;
    this.card.style.left = `${limited(right ? at.x + 16 : at.x - 16 - offsetWidth, 4, Math.max(4, width - offsetWidth - 4))}px`;
    this.card.style.top = `${limited(at.y - offsetHeight / 2, 4, Math.max(4, height - offsetHeight - 4))}px`;
    this.showPicture(row);
    if (aloud) {
      clearTimeout(this.saying);
      this.saying = setTimeout(() => (this.live.textContent = `${names[row]}. ${words[row]}`), QUIET);
    }
  }

  async showPicture(row) {
    const { tile, columns, each } = this.header.sheet;
    const number = Math.floor(this.at[row] / each), inside = this.at[row] % each;
    const context = this.picture.getContext("2d");
    const kept = sheets.get(`${this.header.key}|${number}`);
    this.picture.dataset.image = "";
    if (!kept) {
      context.clearRect(0, 0, 2 * CARD, 2 * CARD);
      this.ask(number);
      return;
    }
    try {
      kept.image ??= createImageBitmap(kept.blob);
      const image = await kept.image;
      if (this.cursor !== row) return;
      context.imageSmoothingQuality = "high";
      context.drawImage(image, (inside % columns) * tile, Math.floor(inside / columns) * tile, tile, tile, 0, 0, 2 * CARD, 2 * CARD);
      this.picture.dataset.image = this.header.names[row];
    } catch (error) {
      this.words.textContent = `${this.header.words[row]} Its picture cannot be drawn: ${error.message}.`;
    }
  }

  // Pictures are sent when they are first looked at; all that are lacking at that moment in one request.
  ask(number) {
    this.asked ??= new Set();
    if (this.asked.has(number)) return;
    this.asked.add(number);
    clearTimeout(this.asking);
    this.asking = setTimeout(() => this.send("sheets", [...this.asked]), 150);
  }

  // Doing

  use(tool) {
    this.memory.tool = tool;
    this.tell();
  }

  zoomAt(factor, at) {
    const before = this.scale;
    const unit = { x: (at.x - before.left) / before.by, y: (before.top - at.y) / before.by };
    this.memory.zoom = limited(this.memory.zoom * factor, 1, LARGEST);
    const after = this.scale;
    this.shift(at.x - (after.left + unit.x * after.by), at.y - (after.top - unit.y * after.by));
  }

  shift(x, y) {
    const { by } = this.scale;
    const { span } = this.box;
    this.memory.x = limited(this.memory.x - x / by / span[0], 0, 1);
    this.memory.y = limited(this.memory.y + y / by / span[1], 0, 1);
    if (this.memory.zoom <= 1) Object.assign(this.memory, { x: 0.5, y: 0.5 });
    this.stage.style.touchAction = this.memory.tool === "move" && this.memory.zoom <= 1 ? "pan-y" : "none";
    this.draw();
    if (this.cursor >= 0 && !this.card.hidden) this.point(this.cursor);
  }

  fit() {
    Object.assign(this.memory, { zoom: 1, x: 0.5, y: 0.5 });
    this.shift(0, 0);
  }

  get middle() {
    return { x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2 };
  }

  choose(rows) {
    this.chosen = new Set(rows);
    this.clear.hidden = !rows.length;
    this.live.textContent = rows.length ? `${rows.length} images chosen.` : "No image chosen.";
    this.send("chosen", rows);
    this.draw();
  }

  outline() {
    if (this.does !== "box") return this.path;
    const [first, last] = [this.path[0], this.path[this.path.length - 1]];
    return [first, { x: last.x, y: first.y }, last, { x: first.x, y: last.y }];
  }

  inside() {
    const corners = this.outline(), scale = this.scale, found = [];
    for (let row = 0; row < this.codes.length; row += 1) {
      if (!this.shows(row)) continue;
      const { x, y } = this.place(row, scale);
      let within = false;
      for (let i = 0, j = corners.length - 1; i < corners.length; j = i, i += 1) {
        const a = corners[i], b = corners[j];
        if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) within = !within;
      }
      if (within) found.push(row);
    }
    return found;
  }

  listen() {
    const { stage } = this;
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => this.lift(event));
    stage.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !this.pointers.size && this.point(-1));
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("blur", () => this.point(-1));
    this.root.addEventListener("keydown", (event) => this.typed(event));
  }

  press(event) {
    if (!this.header || event.button > 1) return;
    if (event.button === 1) event.preventDefault();
    stage_capture(this.stage, event.pointerId);
    const at = this.at_(event);
    this.pointers.set(event.pointerId, at);
    const { tool } = this.memory;
    this.does = event.shiftKey || event.button === 1 ? "move" : tool;
    this.began = this.pointers.size === 1 ? at : null;
    this.path = null;
  }

  drag(event) {
    if (!this.header) return;
    const now = this.at_(event);
    const last = this.pointers.get(event.pointerId);
    if (!last) {
      if (event.pointerType === "mouse") this.point(this.nearest(now));
      return;
    }
    this.pointers.set(event.pointerId, now);
    if (this.pointers.size === 2) {
      const [, still] = [...this.pointers].find(([id]) => id !== event.pointerId);
      const apart = (point) => Math.max(1, Math.hypot(point.x - still.x, point.y - still.y));
      const between = (point) => ({ x: (point.x + still.x) / 2, y: (point.y + still.y) / 2 });
      this.zoomAt(apart(now) / apart(last), between(last));
      this.shift(between(now).x - between(last).x, between(now).y - between(last).y);
      this.began = this.path = null;
      return;
    }
    if (!this.began) return;
    if (!this.path && Math.hypot(now.x - this.began.x, now.y - this.began.y) < STILL) return;
    if (!this.path) this.point(-1);
    if (this.does === "move") this.shift(now.x - last.x, now.y - last.y);
    this.path = [...(this.path ?? [this.began]), now];
    if (this.does === "move") this.path = [];
    this.draw();
  }

  lift(event) {
    const was = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!was || event.type === "pointercancel" || !this.began) {
      this.path = null;
      this.draw();
      return;
    }
    const moved = this.path;
    if (moved?.length) {
      const rows = this.inside();
      this.path = this.began = null;
      this.choose(event.ctrlKey || event.metaKey ? [...new Set([...this.chosen, ...rows])] : rows);
    } else if (!moved) this.click(event, was);
    this.path = this.began = null;
    this.draw();
  }

  // A finger cannot point without touching: its first tap points, its second opens.
  click(event, at) {
    const row = this.nearest(at, event.pointerType === "mouse" ? REACH : 2 * REACH);
    if (row < 0) {
      this.point(-1);
      if (this.chosen.size && event.pointerType === "mouse") this.choose([]);
    } else if (event.pointerType === "mouse" || row === this.cursor) this.send("opened", row);
    else this.point(row);
  }

  wheel(event) {
    if (!this.header) return;
    const factor = Math.exp(-(event.deltaMode === 1 ? event.deltaY * 32 : event.deltaY) * 0.0015);
    const { zoom } = this.memory;
    if (limited(zoom * factor, 1, LARGEST) === zoom) return; // the page scrolls
    event.preventDefault();
    this.zoomAt(factor, this.at_(event));
  }

  typed(event) {
    if (!this.header || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.length === 1) event.stopPropagation(); // r and c are Streamlit's own
    if (event.target !== this.stage) return;
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const does = {
      "+": () => this.zoomAt(STEP, this.focusAt), "=": () => this.zoomAt(STEP, this.focusAt),
      "-": () => this.zoomAt(1 / STEP, this.focusAt), "0": () => this.fit(),
      Enter: () => this.cursor >= 0 && this.send("opened", this.cursor),
      Escape: () => this.choose([]),
      " ": () => this.cursor >= 0 && this.toggle(this.cursor),
    }[event.key];
    if (ways[event.key]) this.step(ways[event.key]);
    else if (does) does();
    else return;
    event.preventDefault();
  }

  get focusAt() {
    return this.cursor >= 0 ? this.place(this.cursor) : this.middle;
  }

  toggle(row) {
    const rows = new Set(this.chosen);
    rows.has(row) ? rows.delete(row) : rows.add(row);
    this.choose([...rows]);
  }

  // The next image in a direction: near, and not far aside.
  step([x, y]) {
    const scale = this.scale;
    const from = this.cursor >= 0 ? this.place(this.cursor, scale) : this.middle;
    let best = -1, least = Infinity;
    for (let row = 0; row < this.codes.length; row += 1) {
      if (row === this.cursor || !this.shows(row)) continue;
      const at = this.place(row, scale);
      const along = (at.x - from.x) * x + (at.y - from.y) * y, aside = Math.abs((at.x - from.x) * y) + Math.abs((at.y - from.y) * x);
      if (this.cursor >= 0 && (along <= 0 || aside > along)) continue;
      const far = this.cursor >= 0 ? along + 2 * aside : Math.hypot(at.x - from.x, at.y - from.y);
      if (far < least) [best, least] = [row, far];
    }
    if (best < 0) return;
    const at = this.place(best, scale);
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (at.x < 0 || at.y < 0 || at.x > width || at.y > height) this.shift(width / 2 - at.x, height / 2 - at.y);
    this.point(best, true);
  }

  destroy() {
    cancelAnimationFrame(this.drawing);
    clearTimeout(this.saying);
    clearTimeout(this.asking);
    this.observer.disconnect();
    if (byKey.get(this.header?.key) === this) byKey.delete(this.header.key);
    this.root.remove();
  }
}

function stage_capture(stage, pointer) {
  try {
    stage.setPointerCapture(pointer);
  } catch (error) {
    console.info("The pointer is gone already:", error.message); // a tap that ended at once
  }
}

// Streamlit calls this with every message, for points and for sheets of pictures alike.
export default function (component) {
  const { parentElement } = component;
  const message = opened(component.data);
  if (message.header.kind === "sheet") {
    const { key, number, of } = message.header;
    const name = `${key}|${number}`;
    if (sheets.get(name)?.of !== of) sheets.set(name, { of, blob: new Blob([message.rest], { type: "image/jpeg" }) });
    const map = byKey.get(key);
    if (map?.cursor >= 0 && !map.card.hidden) map.showPicture(map.cursor);
    return () => sheets.delete(name);
  }
  if (!maps.has(parentElement)) maps.set(parentElement, new ImageMap(parentElement));
  const map = maps.get(parentElement);
  map.update(component, message);
  return () => {
    maps.delete(parentElement);
    map.destroy();
  };
}
