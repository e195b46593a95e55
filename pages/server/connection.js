// Says in a sentence why the page stays empty: a proxy that is set up wrongly shows nothing otherwise.
const PATIENCE = 6000; // milliseconds; the page takes less than two

function explain(sentence) {
  const note = document.createElement("div");
  note.setAttribute("role", "alert");
  note.textContent = sentence;
  note.style.cssText =
    "position:fixed;inset:auto 1rem 1rem 1rem;z-index:9999999;padding:1rem;border-radius:.3rem;" +
    "background:#7a1f1f;color:#fff;font:1rem/1.5 sans-serif";
  document.body.append(note);
}

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
