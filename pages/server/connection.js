// Says in a sentence why the page stays empty, where a proxy is set up wrongly, and why a file is refused.
const PATIENCE = 6000; // milliseconds; the page takes less than two
const READING = 30000; // milliseconds for which the reason of a refused file stays
const UPLOADS = "/_stcore/upload_file/";
const TOO_LARGE = "The web server in front of the app lets no file of this size through. docs/sharing.md shows its limit.";

function explain(sentence) {
  const note = document.createElement("div");
  note.setAttribute("role", "alert");
  note.textContent = sentence;
  note.style.cssText =
    "position:fixed;inset:auto 1rem 1rem 1rem;z-index:9999999;padding:1rem;border-radius:.3rem;" +
    "background:#7a1f1f;color:#fff;font:1rem/1.5 sans-serif";
  document.body.append(note);
  return note;
}

// Streamlit shows of a refused file only the number of the answer
const open = XMLHttpRequest.prototype.open;
XMLHttpRequest.prototype.open = function (method, url, ...rest) {
  if (method.toUpperCase() === "PUT" && String(url).includes(UPLOADS))
    this.addEventListener("load", () => {
      if (this.status < 400) return;
      const isOurs = (this.getResponseHeader("content-type") || "").startsWith("text/plain");
      const sentence = isOurs ? this.responseText : this.status === 413 ? TOO_LARGE : "";
      const note = sentence && explain(sentence);
      if (note) setTimeout(() => note.remove(), READING);
    });
  return open.call(this, method, url, ...rest);
};

function tryConnection() {
  if (document.querySelector("[data-test-connection-state=CONNECTED]")) return;
  if (location.host !== askedHost) {
    explain(
      `Your browser asked ${location.host}, but the proxy asked the server for ${askedHost}. ` +
        "Pass the Host header on. docs/sharing.md shows how."
    );
    return;
  }
  const trial = new WebSocket(new URL("./second-look/connection", document.baseURI).href.replace(/^http/, "ws"));
  trial.onerror = () =>
    explain("The proxy passes no WebSocket on, so the page stays empty. docs/sharing.md shows which headers it needs.");
}

setTimeout(tryConnection, PATIENCE);
