// Browsers start no worker from a file. Where the site is opened from a folder, the search runs in a
// hidden frame instead, behind the part of Worker's interface that the theme uses.
class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.appendChild(this.frame);
    const inner = this.frame.contentWindow;
    this.ready = new Promise((resolve) => this.frame.addEventListener("load", resolve));
    window.addEventListener("message", (event) => {
      if (event.source !== inner) return;
      event.stopImmediatePropagation();
      const message = new MessageEvent("message", { data: event.data });
      this.dispatchEvent(message);
      this.onmessage?.(message);
    });
    inner.document.open();
    inner.document.write(
      `<script>
        postMessage = parent.postMessage.bind(parent);
        importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((resolve, reject) => {
          const script = document.createElement("script");
          script.src = url;
          script.onload = resolve;
          script.onerror = reject;
          document.head.appendChild(script);
        })), Promise.resolve());
      </script><script src="${url}"></script>`
    );
    inner.document.close();
  }

  postMessage(data) {
    this.ready.then(() =>
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data, source: window }))
    );
  }

  terminate() {
    this.frame.remove();
  }
}

if (location.protocol === "file:") window.Worker = FrameWorker;
