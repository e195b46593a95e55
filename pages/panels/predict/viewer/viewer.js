// The viewer itself: what the user did, and what follows from it. Nothing here asks the page to run again.

const STEP = 1.25; // zoom per key or button
const WHEEL = 0.0015; // zoom per unit of the wheel, as an exponent
const LARGEST = 20; // screen pixels per image pixel
const DOUBLING = 180; // CSS pixels of a drag that double the window's width
const ACROSS_HEIGHT = 300; // CSS pixels of a drag that move the centre by one width
const QUIET = 600; // milliseconds without change until it is read out
const PRESETS = { lung: [0.02, 0.6], bone: [0.35, 0.995], range: [0, 1] }; // shares of pixels between which greys are parted
const AS_IT_CAME = { quarters: 0, mirrored: false };
const REMEMBERED = 24; // viewers whose view outlives their place on the page

const HINTS = {
  mouse: {
    window:
      "Drag sets the window: to the right wider, down darker. Shift-drag moves the zoomed image, the wheel zooms. " +
      "Press ? for all keys.",
    pan:
      "Drag moves the zoomed image, the wheel zooms. Shift-drag or the right button sets the window: to the right " +
      "wider, down darker. Press ? for all keys.",
    measure: "Drag from end to end. A length in mm is at the detector, magnification not corrected. Press ? for all keys.",
  },
  finger: {
    window: "A finger sets the window: to the right wider, down darker. Two fingers zoom and move the image.",
    pan: "Two fingers zoom, one moves the zoomed image, a double tap shows the whole image.",
    measure: "Draw from end to end. A length in mm is at the detector, magnification not corrected.",
  },
};

const viewers = new WeakMap(); // by the element that Streamlit gives
const remembered = new Map(); // by the viewer's key: outlives reruns, and the element where the page rebuilds it

const numbers = (value, digits = 0) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const limited = (value, low, high) => Math.min(high, Math.max(low, value));

const coarse = () => matchMedia("(pointer: coarse)").matches;

// Screen pixels of a CSS length: the browser's own count, unless it is that of another screen (an emulated one).
const pixels = (length, counted) => {
  const expected = Math.round(length * devicePixelRatio);
  return Math.abs(counted - expected) <= 1 ? counted : expected;
};

function memoryOf(key, opacity) {
  const memory = remembered.get(key) ?? {
    tool: coarse() ? "pan" : "window", // a finger that only scrolls by must not change greys
    heat: true, lungs: true, box: true, linked: true, opacity, inverted: false, panes: [],
  };
  remembered.delete(key);
  remembered.set(key, memory); // last used, last dropped
  if (remembered.size > REMEMBERED) remembered.delete(remembered.keys().next().value);
  return memory;
}

// One image on the screen with its own window; its view is the other's as well while they are linked.
class Pane {
  constructor(viewer) {
    this.viewer = viewer;
    this.canvas = element("canvas", { role: "img" });
    this.stage = element("div", { class: "stage", tabindex: "0", role: "application", "aria-roledescription": "image" }, this.canvas);
    this.title = element("span", { class: "title" });
    this.note = element("span", { class: "note" });
    this.greys = element("span", { class: "figure" });
    this.zoom = element("span", { class: "figure" });
    this.probe = element("span", { class: "figure probe" });
    this.element = element(
      "figure", { class: "pane" },
      element("figcaption", {}, this.title, this.note), this.stage,
      element("div", { class: "status" }, this.greys, this.zoom, this.probe),
    );
    this.pointers = new Map();
    this.observer = new ResizeObserver(([entry]) => this.resize(entry));
    this.observer.observe(this.stage);
    this.listen();
  }

  show(image, given, state) {
    if (this.sheet?.image !== image) this.sheet = new Sheet(this.canvas, image);
    Object.assign(this, { given, state });
    const [rows, columns] = given.quarters % 2 ? [...given.size].reverse() : given.size;
    const { width, height } = image.levels[0];
    this.growth = [rows / height, columns / width]; // pixels of the file per pixel sent
    if (given.quarters % 2) this.growth.reverse();
    this.spacing = given.spacing && given.spacing.map((size, i) => size * this.growth[i]);
    this.greyRange ??= new Map();
    if (!this.greyRange.has(image)) this.greyRange = new Map([[image, levelsAt(image, [0, 1])]]);
    this.aspect = this.spacing ? this.spacing[0] / this.spacing[1] : 1;
    this.most = 2 ** image.bits - 1;
    this.title.textContent = given.title;
    this.note.textContent = given.note;
    this.stage.setAttribute("aria-label", `${given.title}. Press ? for the keys.`);
  }

  resize(entry) {
    const exact = entry.devicePixelContentBoxSize?.[0];
    const width = pixels(entry.contentRect.width, exact?.inlineSize);
    const height = pixels(entry.contentRect.height, exact?.blockSize);
    if (width === this.canvas.width && height === this.canvas.height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.viewer.draw();
  }

  // The view, held so that an image larger than its stage fills it and a smaller one lies in the middle.
  held(view = this.state.view) {
    const { width, height } = this.sheet.place(view, this.aspect);
    const inside = (at, stage, size) => (size <= stage ? 0.5 : limited(at, stage / 2 / size, 1 - stage / 2 / size));
    return { zoom: view.zoom, x: inside(view.x, this.canvas.width, width), y: inside(view.y, this.canvas.height, height) };
  }

  // A zoom that is allowed: not beyond the whole image, except for a small one down to its own pixels.
  allowed(zoom) {
    const [across] = this.sheet.fit(this.aspect);
    return limited(zoom, Math.min(1, 1 / across), Math.max(1, LARGEST / across));
  }

  move(view) {
    this.viewer.moved(this, this.held({ ...view, zoom: this.allowed(view.zoom) }));
  }

  // Zoom by a factor so that what lies under `at` (canvas pixels) stays there; moved by `by` at the same time.
  zoomAt(factor, at, by = { x: 0, y: 0 }) {
    const view = this.held();
    const zoom = this.allowed(view.zoom * factor);
    const before = this.sheet.place(view, this.aspect);
    const after = this.sheet.place({ ...view, zoom }, this.aspect);
    const middle = (point, moved, edge, size, grown, stage) => {
      const share = (point - edge) / size;
      return (stage / 2 - (point + moved - share * grown)) / grown;
    };
    this.move({
      zoom,
      x: middle(at.x, by.x, before.left, before.width, after.width, this.canvas.width),
      y: middle(at.y, by.y, before.top, before.height, after.height, this.canvas.height),
    });
  }

  panBy(x, y) {
    const view = this.held();
    const { width, height } = this.sheet.place(view, this.aspect);
    this.move({ zoom: view.zoom, x: view.x - x / width, y: view.y - y / height });
  }

  oneToOne() {
    this.zoomAt(1 / this.sheet.place(this.held(), this.aspect).across, this.middle);
  }

  // Proportional to the window itself, so that a window of few grey levels is set as finely as one of thousands.
  windowFrom({ centre, width }, x, y) {
    const [darkest, brightest] = this.greyRange.get(this.sheet.image);
    const widest = Math.max(brightest - darkest, this.given.window[1], width); // wider shows nothing more
    this.window(limited(centre + (y * width) / ACROSS_HEIGHT, 0, this.most), limited(width * 2 ** (x / DOUBLING), 1, widest));
  }

  window(centre, width) {
    Object.assign(this.state, { centre, width });
    this.viewer.windowed(this);
  }

  // A window from the image's own greys: the levels below which these shares of its pixels lie.
  preset(name) {
    const [low, high] = levelsAt(this.sheet.image, PRESETS[name]);
    this.window((low + high) / 2, Math.max(1, high - low));
  }

  // The measured line: its length in mm where the size of a pixel is known.
  get line() {
    const { line } = this.state;
    if (!line) return null;
    const [x, y] = [line.to.x - line.from.x, line.to.y - line.from.y];
    const size = this.spacing ?? this.growth;
    const length = Math.hypot(x * size[1], y * size[0]);
    return { ...line, words: this.spacing ? `${numbers(length, 1)} mm` : `${numbers(length)} pixels` };
  }

  get middle() {
    return { x: this.canvas.width / 2, y: this.canvas.height / 2 };
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * this.canvas.width) / box.width,
      y: ((event.clientY - box.top) * this.canvas.height) / box.height,
    };
  }

  listen() {
    const { stage } = this;
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      stage.addEventListener(end, (event) => this.lift(event));
    }
    stage.addEventListener("pointerleave", () => this.point(null));
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("dblclick", () => this.viewer.act.fit());
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("focus", () => (this.viewer.active = this));
  }

  press(event) {
    if (!this.sheet || (event.pointerType === "mouse" && event.button > 2)) return;
    if (event.button === 1) event.preventDefault(); // no automatic scrolling
    this.viewer.active = this;
    stageCapture(this.stage, event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const { tool } = this.viewer.memory;
    const other = tool === "window" ? "pan" : "window";
    const does = event.button === 2 ? "window" : event.shiftKey || event.button === 1 ? other : tool;
    const { centre, width } = this.state;
    this.drags = { does, x: event.clientX, y: event.clientY, centre, width };
    if (does === "window") this.stage.classList.add("windowing");
    if (does === "measure") {
      const from = this.sheet.imagePlace(this.held(), this.aspect, this.at(event));
      this.state.line = { from, to: from };
    }
  }

  drag(event) {
    if (!this.sheet) return;
    this.point(event);
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const now = { x: event.clientX, y: event.clientY };
    if (this.pointers.size === 2) this.pinch(event.pointerId, last, now);
    else if (this.pointers.size === 1 && this.drags) {
      const ratio = this.canvas.width / this.canvas.getBoundingClientRect().width;
      if (this.drags.does === "pan") this.panBy((now.x - last.x) * ratio, (now.y - last.y) * ratio);
      else if (this.drags.does === "measure") {
        this.state.line.to = this.sheet.imagePlace(this.held(), this.aspect, this.at(event));
        this.viewer.measured(this);
      } else this.windowFrom(this.drags, now.x - this.drags.x, now.y - this.drags.y);
    }
    this.pointers.set(event.pointerId, now);
  }

  pinch(id, last, now) {
    const [, still] = [...this.pointers].find(([other]) => other !== id);
    const apart = (point) => Math.max(1, Math.hypot(point.x - still.x, point.y - still.y));
    const between = (point) => this.at({ clientX: (point.x + still.x) / 2, clientY: (point.y + still.y) / 2 });
    const [before, after] = [between(last), between(now)];
    this.zoomAt(apart(now) / apart(last), before, { x: after.x - before.x, y: after.y - before.y });
    this.drags = null; // the finger that stays does not go on with what it did before
  }

  lift(event) {
    this.pointers.delete(event.pointerId);
    if (this.pointers.size === 0) this.stage.classList.remove("windowing");
  }

  // Once the whole image is seen, and at the largest zoom, the wheel scrolls the page.
  wheel(event) {
    if (!this.sheet) return;
    const pixels = event.deltaMode === 1 ? event.deltaY * 32 : event.deltaY;
    const { zoom } = this.state.view;
    const factor = Math.exp(-pixels * WHEEL);
    if (factor < 1 ? zoom <= 1 : this.allowed(zoom * factor) === zoom) return;
    event.preventDefault();
    this.zoomAt(factor < 1 ? Math.max(factor, 1 / zoom) : factor, this.at(event));
  }

  point(event) {
    this.pointed = event && { clientX: event.clientX, clientY: event.clientY };
    this.showProbe();
  }

  showProbe() {
    const found = this.pointed && this.sheet && this.sheet.pixelAt(this.held(), this.aspect, this.at(this.pointed));
    if (!found) this.probe.textContent = "";
    else {
      const [down, across] = this.growth;
      const [x, y] = [Math.floor((found.x + 0.5) * across), Math.floor((found.y + 0.5) * down)];
      this.probe.textContent = `x ${numbers(x)}  y ${numbers(y)}  grey ${numbers(found.value)}`;
    }
  }

  draw(over) {
    if (!this.sheet || !this.canvas.width || !this.canvas.height) return;
    const { centre, width } = this.state;
    const view = this.held();
    const windowed = { centre, width, inverted: this.viewer.memory.inverted };
    this.sheet.draw(view, this.aspect, windowed, { ...over, spacing: this.spacing, line: this.line });
    const digits = width < 10 ? 1 : 0;
    this.greys.textContent = `C ${numbers(centre, digits)}  W ${numbers(width, digits)}`;
    this.greys.title = "Centre and width of the window, in grey levels";
    this.zoom.textContent = `${numbers(this.percent)} %`;
    this.zoom.title = "100 %: one image pixel per screen pixel";
    this.showProbe();
    const free = view.zoom <= 1 && this.viewer.memory.tool === "pan";
    this.stage.style.touchAction = free ? "pan-x pan-y" : "none"; // with nothing to move, a finger scrolls the page
  }

  get percent() {
    return 100 * this.sheet.place(this.held(), this.aspect).across;
  }

  destroy() {
    this.observer.disconnect();
    this.element.remove();
  }
}

function stageCapture(stage, pointer) {
  try {
    stage.setPointerCapture(pointer);
  } catch (error) {
    console.debug("The pointer is gone already.", error); // lifted before its press was handled
  }
}

class Viewer {
  constructor(parent) {
    this.act = this.actions();
    this.bar = toolbar(this.act);
    this.key = legend();
    this.images = element("div", { class: "images" });
    this.help = helpSheet(() => this.showHelp(false));
    this.hint = element("p", { class: "hint" });
    this.live = element("div", { class: "unseen", role: "status", "aria-live": "polite" });
    this.trouble = element("p", { class: "trouble", role: "alert", hidden: "" });
    this.root = element(
      "section", { class: "viewer", "aria-label": "Image viewer" },
      this.trouble, this.bar.row, element("div", { class: "table" }, this.images, this.help), this.key.row, this.hint, this.live,
    );
    this.root.addEventListener("keydown", (event) => this.typed(event));
    this.panes = [];
    this.over = {};
    parent.append(this.root);
  }

  // What the page sent. The same again changes nothing.
  async update(message) {
    if (this.message && same(this.message, message)) return;
    this.message = message.slice();
    try {
      const { header, packed } = opened(message);
      const images = Promise.all(header.panes.map((pane) => arrival(pane.image)));
      const [values, given] = await Promise.all([inflated(packed), images]);
      if (this.gone || !same(this.message, message)) return; // a later message has come meanwhile
      this.take(header, values, given);
      this.root.classList.remove("broken");
      this.trouble.hidden = true;
    } catch (error) {
      this.fail(error);
    }
  }

  take(header, values, images) {
    const { lungs } = header;
    const memory = (this.memory = memoryOf(header.key, header.opacity));
    this.header = header;
    this.root.style.setProperty("--height", `${header.height}px`);
    this.raw = { values, images };
    this.remember(header.panes);
    this.layOut();
  }

  // Images, heat map and lungs as they are turned here, each on its pane.
  layOut() {
    const { header, memory } = this;
    const { heat, lungs, box } = header;
    const { values } = this.raw;
    const orientation = memory.panes[0].turn;
    const cells = heat ? heat.width * heat.height : 0;
    const heatTurned = heat && turned({ ...heat, values: values.subarray(0, cells) }, orientation);
    const lungsTurned = lungs && turned({ ...lungs, values: values.subarray(cells) }, orientation);
    this.over.heat = heat ? heatPicture({ ...heatTurned, signed: heat.signed }, heatTurned.values) : null;
    this.over.lungs = lungs ? outline(lungsTurned, lungsTurned.values) : null;
    const boxTurned = box && turned(boxMask(box), orientation);
    this.over.box = box ? outline(boxTurned, boxTurned.values) : null;
    const images = this.raw.images.map((image, i) => this.oriented(image, i === 0 ? orientation : AS_IT_CAME));
    while (this.panes.length > images.length) this.panes.pop().destroy();
    while (this.panes.length < images.length) {
      this.panes.push(new Pane(this));
      this.images.append(this.panes.at(-1).element);
    }
    this.images.classList.toggle("two", images.length === 2);
    this.panes.forEach((pane, i) => {
      const given = header.panes[i];
      const spacing = i === 0 && orientation.quarters % 2 && given.spacing ? [...given.spacing].reverse() : given.spacing;
      pane.show(images[i], { ...given, spacing, quarters: i === 0 ? orientation.quarters : 0 }, memory.panes[i]);
    });
    if (!this.panes.includes(this.active)) this.active = this.panes[0];
    this.tell();
    this.draw();
  }

  // An image as it is turned; the last one is kept, so that a rerun of the page turns nothing anew.
  oriented(image, { quarters, mirrored }) {
    if (!quarters && !mirrored) return image;
    const name = `${image.id} ${quarters} ${mirrored}`;
    if (this.turnedAs?.name !== name) this.turnedAs = { name, image: turnedImage(image, { quarters, mirrored }) };
    return this.turnedAs.image;
  }

  // The same image keeps its window and place; another one starts anew.
  remember(given) {
    const { memory } = this;
    const names = given.map((pane) => `${pane.image} ${pane.window}`);
    if (memory.panes[0]?.name !== names[0]) Object.assign(memory, { inverted: false, panes: [] });
    memory.panes = given.map((pane, i) => {
      if (memory.panes[i]?.name === names[i]) return memory.panes[i];
      const [centre, width] = pane.window;
      const view = i > 0 && memory.linked ? { ...memory.panes[0]?.view } : {};
      return { name: names[i], view: { zoom: 1, x: 0.5, y: 0.5, ...view }, centre, width, turn: AS_IT_CAME, line: null };
    });
  }

  actions() {
    const here = () => this.active;
    const every = (change) => this.panes.forEach(change);
    const turn = (by) => {
      const state = this.memory.panes[0];
      Object.assign(state, { turn: by(state.turn), line: null });
      this.layOut();
      this.panes[0].move({ zoom: 1, x: 0.5, y: 0.5 });
    };
    const set = (name, value) => {
      this.memory[name] = value;
      this.tell();
      this.draw();
    };
    return {
      tool: (tool) => set("tool", tool),
      measure: () => {
        const drawn = this.panes.some((pane) => pane.state.line);
        every((pane) => (pane.state.line = null));
        set("tool", this.memory.tool === "measure" && drawn ? "window" : "measure");
      },
      preset: (name) => here().preset(name),
      rotate: () => turn(({ quarters, mirrored }) => ({ quarters: (quarters + (mirrored ? 3 : 1)) % 4, mirrored })),
      flip: () => turn(({ quarters, mirrored }) => ({ quarters, mirrored: !mirrored })),
      reread: () => this.send?.("turned", { ...this.memory.panes[0].turn }),
      fit: () => here().move({ zoom: 1, x: 0.5, y: 0.5 }),
      one: () => here().oneToOne(),
      zoom: (factor) => here().zoomAt(factor, here().middle),
      invert: () => set("inverted", !this.memory.inverted),
      reset: () =>
        every((pane) => {
          [pane.state.centre, pane.state.width] = pane.given.window;
          this.windowed();
        }),
      heat: () => this.header.heat && set("heat", !this.memory.heat),
      lungs: () => this.header.lungs && set("lungs", !this.memory.lungs),
      box: () => this.header.box && set("box", !this.memory.box),
      opacity: (share) => set("opacity", limited(Math.round(20 * share) / 20, 0, 1)),
      link: () => {
        set("linked", !this.memory.linked);
        if (this.memory.linked) here().move(here().state.view);
      },
      full: () => this.fullScreen(),
      help: () => this.showHelp(this.help.hidden),
    };
  }

  moved(pane, view) {
    const together = this.memory.linked ? this.panes : [pane];
    for (const one of together) one.state.view = { ...view };
    this.announce();
    this.draw();
  }

  // The other image follows in shares of its own first window while they are linked: its greys may be others.
  windowed(pane) {
    const [centre, width] = pane?.given.window ?? [];
    for (const other of pane && this.memory.linked ? this.panes : []) {
      if (other === pane) continue;
      const [first, span] = other.given.window;
      other.state.width = limited((span * pane.state.width) / width, 1, Math.max(other.most, span));
      other.state.centre = limited(first + (span * (pane.state.centre - centre)) / width, 0, other.most);
    }
    this.announce();
    this.draw();
  }

  measured(pane) {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => {
      const where = pane.spacing ? " at the detector, magnification not corrected" : "";
      if (pane.line) this.live.textContent = `${pane.line.words}${where}.`;
    }, QUIET);
    this.draw();
  }

  // At most once per picture of the screen.
  draw() {
    if (this.drawing || !this.memory || this.gone) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      const { heat, lungs, box, opacity } = this.memory;
      const shown = { heat: heat && this.over.heat, lungs: lungs && this.over.lungs, box: box && this.over.box, opacity };
      try {
        this.panes.forEach((pane, i) => pane.draw(i === 0 ? shown : {}));
      } catch (error) {
        this.fail(error);
      }
    });
  }

  // Buttons, legend and words after what has changed.
  tell() {
    const { memory, header, bar, key } = this;
    const pressed = {
      window: memory.tool === "window", pan: memory.tool === "pan", measure: memory.tool === "measure", invert: memory.inverted,
      heat: memory.heat && Boolean(header.heat), lungs: memory.lungs && Boolean(header.lungs), box: memory.box && Boolean(header.box),
      link: memory.linked,
    };
    for (const [name, on] of Object.entries(pressed)) bar.buttons[name].setAttribute("aria-pressed", String(on));
    bar.heat.hidden = !header.heat;
    bar.buttons.lungs.hidden = !header.lungs;
    bar.buttons.box.hidden = !header.box;
    bar.buttons.link.hidden = this.panes.length < 2;
    bar.slider.value = Math.round(100 * memory.opacity);
    bar.slider.disabled = !pressed.heat;
    bar.opacity.textContent = `${Math.round(100 * memory.opacity)} %`;
    key.heat.hidden = !pressed.heat;
    key.lungs.hidden = !pressed.lungs;
    key.box.hidden = !pressed.box;
    if (header.heat) {
      key.title.textContent = header.heat.title;
      key.ramp.style.backgroundImage = gradientOf(header.heat.signed);
      key.low.textContent = header.heat.signed ? "lowers" : "little";
      key.high.textContent = header.heat.signed ? "raises" : "much";
    }
    this.images.dataset.tool = memory.tool;
    const { quarters, mirrored } = memory.panes[0].turn;
    bar.buttons.reread.hidden = !header.rereads || (!quarters && !mirrored);
    this.hint.textContent = HINTS[coarse() ? "finger" : "mouse"][memory.tool];
    this.panes.forEach((pane, i) => {
      const over = i === 0 && pressed.heat ? `. Over it: ${header.heat.alt}` : "";
      pane.canvas.setAttribute("aria-label", pane.given.alt + over);
    });
  }

  announce() {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => {
      const { centre, width } = this.active.state;
      this.live.textContent =
        `Window centre ${numbers(centre)}, width ${numbers(width)}. Zoom ${numbers(this.active.percent)} %.`;
    }, QUIET);
  }

  async fullScreen() {
    if (!document.fullscreenEnabled) {
      this.root.classList.toggle("filling"); // phones whose browser gives it to videos alone
      return;
    }
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await this.root.requestFullscreen();
    } catch (error) {
      this.live.textContent = `The browser gives no full screen: ${error.message}`;
    }
  }

  showHelp(shown) {
    if (shown === !this.help.hidden) return;
    this.help.hidden = !shown;
    if (shown) this.help.focus({ preventScroll: true });
    else this.active?.stage.focus({ preventScroll: true });
  }

  typed(event) {
    if (!this.memory || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    if (key.length === 1 && !"np".includes(key)) event.stopPropagation(); // r and c are Streamlit's own: run again, empty the cache
    if (key === "Escape" && this.root.classList.contains("filling")) this.root.classList.remove("filling");
    else if (event.key === "Escape" && !this.help.hidden) this.showHelp(false);
    else if (!this.keys(event)) return;
    event.preventDefault();
  }

  // Whether the key meant something here.
  keys(event) {
    const { act } = this;
    const onImage = event.target === this.active?.stage;
    const step = event.shiftKey ? 12 : 40 * devicePixelRatio;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (arrows) {
      if (!onImage) return false;
      const [x, y] = arrows.map((way) => way * step);
      if (event.shiftKey) this.active.windowFrom(this.active.state, x, y);
      else this.active.panBy(-x, -y);
      return true;
    }
    const does = {
      "+": () => act.zoom(STEP), "=": () => act.zoom(STEP), "-": () => act.zoom(1 / STEP), "0": act.fit, "1": act.one,
      "2": () => act.preset("lung"), "3": () => act.preset("bone"), "4": () => act.preset("range"),
      m: act.measure, t: act.rotate, v: act.flip, i: act.invert, r: act.reset, h: act.heat, l: act.lungs, b: act.box, f: act.full, "?": act.help,
      "[": () => act.opacity(this.memory.opacity - 0.05), "]": () => act.opacity(this.memory.opacity + 0.05),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    does?.();
    return Boolean(does);
  }

  fail(error) {
    console.warn("Image viewer:", error);
    this.root.classList.add("broken");
    this.trouble.hidden = false;
    this.trouble.textContent =
      `The image cannot be drawn in this browser: ${error.message}. What the page says of it does not depend on that. ` +
      "Reload the page, or try a current Chrome, Edge, Firefox or Safari.";
  }

  destroy() {
    this.gone = true;
    cancelAnimationFrame(this.drawing);
    clearTimeout(this.announcing);
    this.panes.forEach((pane) => pane.destroy());
    this.root.remove();
  }
}

function same(one, other) {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

// Streamlit calls this with every message, for an image's pixels and for the view alike.
export default function ({ data, parentElement, setTriggerValue }) {
  const message = opened(data);
  if (message.header.kind === "image") {
    hold(parentElement, message);
    release(parentElement, message.header.id);
    return () => release(parentElement);
  }
  if (!viewers.has(parentElement)) viewers.set(parentElement, new Viewer(parentElement));
  const viewer = viewers.get(parentElement);
  viewer.send = setTriggerValue;
  viewer.update(data);
  return () => {
    viewers.delete(parentElement);
    viewer.destroy();
  };
}
