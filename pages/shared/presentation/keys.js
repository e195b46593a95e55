// Keys of a presented page: the next figure, table or heading, and behind the last the next tab.
const SLIDES = "h1, h2, h3, .stPlotlyChart, [data-testid=stDataFrame], [data-testid=stImage]";
const FORWARD = ["ArrowRight", "ArrowDown", "PageDown", " "], BACK = ["ArrowLeft", "ArrowUp", "PageUp"];
const TAKEN = "input, textarea, select, [contenteditable], [role=tab], [role=radio], [role=slider], [data-testid=stDataFrame]";

export default function ({ setStateValue }) {
  const screen = () => document.querySelector("[data-testid=stMain]");
  const places = () => {
    const top = screen().getBoundingClientRect().top - screen().scrollTop;
    const seen = [...screen().querySelectorAll(SLIDES)].filter(one => one.offsetParent);
    return seen.map(one => {
      const box = one.getBoundingClientRect(), room = innerHeight - box.height;
      return Math.max(0, box.top - top - (one.matches("h1, h2, h3") ? innerHeight * 0.04 : Math.max(room / 2, 8)));
    }).sort((a, b) => a - b);
  };
  const turn = step => {
    const now = screen().scrollTop, farthest = screen().scrollHeight - innerHeight;
    const reachable = places().map(place => Math.min(place, farthest));
    const next = step > 0 ? reachable.find(place => place > now + 40) : reachable.findLast(place => place < now - 40);
    if (next !== undefined) return screen().scrollTo({ top: next, behavior: "smooth" });
    const tabs = [...screen().querySelectorAll("[role=tab]")].filter(one => one.offsetParent);
    const open = tabs.findIndex(one => one.ariaSelected === "true");
    (step > 0 ? tabs[open + 1] : now < 40 ? tabs[open - 1] : undefined)?.click();
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
