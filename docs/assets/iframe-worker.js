/* Search in a site that is opened from disk: browsers start no Worker for a file. This one runs the
   script in a hidden frame of the page, which has the same messages. */
"use strict"

class FrameWorker extends EventTarget {
  constructor(address) {
    super()
    this.onmessage = null
    this.frame = document.createElement("iframe")
    this.frame.hidden = true
    document.body.append(this.frame)
    const inner = this.frame.contentWindow
    inner.postMessage = data => {
      const event = new MessageEvent("message", { data })
      this.dispatchEvent(event)
      if (this.onmessage) this.onmessage(event)
    }
    inner.importScripts = (...addresses) =>
      Promise.all(addresses.map(one => load(inner, one)))
    this.loaded = load(inner, address).then(() => inner)
  }

  postMessage(data) {
    this.loaded.then(inner =>
      inner.dispatchEvent(new inner.MessageEvent("message", { data }))
    )
  }

  terminate() {
    this.frame.remove()
  }
}

function load(inner, address) {
  return new Promise((resolve, reject) => {
    const script = inner.document.createElement("script")
    script.src = address
    script.onload = resolve
    script.onerror = reject
    inner.document.body.append(script)
  })
}

if (location.protocol === "file:") window.Worker = FrameWorker
