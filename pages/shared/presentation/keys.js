// Keys of a presented page: the next screen, and behind the last the next tab, group of tabs, or step of a lesson.
const BARS = "[role=tablist]";
const HEADS = `h2, h3, h4, ${BARS}`, PICTURES = "[data-testid=stImage]";
const CARDS = "[class*=st-key-lesson-]"; // of the four lessons
const SLIDES = `${HEADS}, ${PICTURES}, ${CARDS}, .stPlotlyChart, [data-testid=stDataFrame], [data-testid=stTable]`;
const FORWARD = ["ArrowRight", "ArrowDown", "PageDown", " "], BACK = ["ArrowLeft", "ArrowUp", "PageUp"];
const TAKEN = "input, textarea, select, [contenteditable], [role=tab], [role=radio], [role=slider], [data-testid=stDataFrame]";
const NEAR = 40; // pixels: so near, a screen is the same one

export default function ({ setStateValue }) {
  const screen = () => document.querySelector("[data-testid=stMain]");
  const shown = what => [...screen().querySelectorAll(what)].filter(one => one.offsetParent && !one.closest("details:not([open])"));
  const edge = () => innerHeight * 0.03;
  const topOf = one => one.getBoundingClientRect().top - screen().getBoundingClientRect().top + screen().scrollTop;
  // Where screens begin: whatever the screen before does not show whole begins the next one
  const screens = () => {
    const found = [0], [bar, ...inner] = shown(BARS);
    for (const [one, top] of shown(SLIDES).map(one => [one, topOf(one)]).sort((a, b) => a[1] - b[1])) {
      const height = one.getBoundingClientRect().height, room = innerHeight - height;
      const caption = one.matches(PICTURES) ? 2 * edge() : 0;
      if (inner.includes(one) || one !== bar && top + height + caption <= found.at(-1) + innerHeight) continue;
      found.push(Math.max(found.at(-1), top - (one.matches(`${HEADS}, ${PICTURES}`) ? edge() : Math.max(room / 2, 8))));
    }
    return found;
  };
  // Text that no slide begins, a bit less than a screen at a time, down to the last thing on the page
  const end = () => {
    const last = shown("p, li").filter(one => !one.closest("button, a")).map(one => topOf(one) + one.getBoundingClientRect().height);
    return Math.max(0, ...last) + 3 * edge() - innerHeight;
  };
  const below = now => end() > now + NEAR ? Math.min(now + innerHeight * 0.8, end()) : undefined;
  const chapter = (all, isOpen, step) => all[all.findIndex(isOpen) + step] ?? null;
  const turn = step => {
    const now = screen().scrollTop, farthest = screen().scrollHeight - innerHeight;
    const bar = shown(BARS)[0], begin = bar ? Math.max(0, topOf(bar) - edge()) : 0;
    const tabs = bar ? [...bar.querySelectorAll("[role=tab]")] : [], isFirst = !tabs.length || tabs[0].ariaSelected === "true";
    const reachable = screens().map(place => Math.min(place, farthest));
    const next = step > 0 ? reachable.find(place => place > now + NEAR) ?? below(now) : reachable.findLast(place => place < now - NEAR);
    const leaves = next === undefined || step < 0 && now <= begin + NEAR && !isFirst;
    const other = !leaves ? null : chapter(tabs, tab => tab.ariaSelected === "true", step)
      ?? chapter(shown(".st-key-compare_tabs [role=radio]"), one => one.ariaChecked === "true", step)
      ?? shown(step > 0 ? ".st-key-next button:enabled" : ".st-key-back button:enabled")[0];
    if (!other && next === undefined) return;
    other?.click();
    screen().scrollTo({ top: other ? begin : next, behavior: other ? "instant" : "smooth" });
  };
  const pressed = event => {
    if (event.target.closest?.(TAKEN) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      const address = new URL(location.href);
      ["present", "embed", "embed_options"].forEach(name => address.searchParams.delete(name));
      location.assign(address);
    } else if (FORWARD.includes(event.key) || BACK.includes(event.key)) {
      event.preventDefault();
      turn(FORWARD.includes(event.key) ? 1 : -1);
    }
  };
  const measured = () => setStateValue("height", innerHeight);
  document.addEventListener("keydown", pressed, true);
  addEventListener("resize", measured);
  measured();
  return () => {
    document.removeEventListener("keydown", pressed, true);
    removeEventListener("resize", measured);
  };
}
