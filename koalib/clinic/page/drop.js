// Takes films in (dropped, chosen, or one of the samples) and hands reports out.
// Files travel in pieces, so that no message is larger than a websocket allows.
const PIECE = 512 * 1024;

function readerKey() {
  // A random name of this browser: it finds its own readings again, and only those.
  try {
    const old = localStorage.getItem("koalib-reader");
    if (old) return old;
    const made = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
    localStorage.setItem("koalib-reader", made);
    return made;
  } catch {
    return "";
  }
}

async function read(model, file) {
  try {
    return await file.arrayBuffer();
  } catch {
    model.send({ type: "unreadable", name: file.name }); // a folder, or a file that is gone
    return null;
  }
}

async function send(model, file, index) {
  const bytes = await read(model, file);
  if (!bytes) return;
  const pieces = Math.max(1, Math.ceil(bytes.byteLength / PIECE));
  for (let piece = 0; piece < pieces; piece++) {
    const part = new DataView(bytes.slice(piece * PIECE, (piece + 1) * PIECE));
    model.send({ type: "piece", name: file.name, size: file.size, index, piece, pieces }, undefined, [part]);
  }
}

async function take(model, files) {
  const { bytes: largest, files: most } = model.get("limits");
  const chosen = files.slice(0, most);
  const fitting = chosen.filter((f) => f.size <= largest);
  try {
    if (files.length > most) model.send({ type: "too_many", count: files.length });
    for (const f of chosen) if (f.size > largest) model.send({ type: "too_large", name: f.name });
    for (const [i, f] of fitting.entries()) await send(model, f, i);
  } finally {
    model.send({ type: "taken" });
  }
}

function handOut(message, buffers) {
  const url = URL.createObjectURL(new Blob([buffers[0]], { type: message.mime }));
  const link = Object.assign(document.createElement("a"), { href: url, download: message.name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function render({ model, el }) {
  el.classList.add("koa-drop");
  const input = Object.assign(document.createElement("input"), { type: "file", multiple: true });
  input.accept = ".png,.jpg,.jpeg,.tif,.tiff,.bmp,.dcm,.dicom,application/dicom,image/*";
  input.id = "koa-file-" + Math.random().toString(36).slice(2);
  const zone = document.createElement("label");
  zone.className = "koa-zone";
  zone.htmlFor = input.id;
  const icon = document.createElement("span");
  icon.className = "koa-zone-icon";
  icon.setAttribute("aria-hidden", "true");
  const title = document.createElement("span");
  title.className = "koa-zone-title";
  const hint = document.createElement("span");
  hint.className = "koa-zone-hint";
  zone.append(icon, title, hint);
  const heading = document.createElement("div");
  heading.className = "koa-label";
  const samples = document.createElement("div");
  samples.className = "koa-samples";
  samples.setAttribute("role", "group");
  el.append(input, zone, heading, samples);

  // One drop after the other: a pseudonym is for one of them, so their messages must not mix.
  let before = Promise.resolve();
  const next = (act) => { before = before.then(act, act); };
  const takeNext = (list) => {
    const files = Array.from(list);
    if (files.length) next(() => take(model, files));
  };

  const draw = () => {
    const t = model.get("texts");
    title.textContent = t.drop;
    hint.textContent = t.hint;
    input.setAttribute("aria-label", t.drop);
    heading.textContent = t.samples;
    samples.setAttribute("aria-label", t.samples);
    samples.replaceChildren(
      ...model.get("samples").map((s) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "koa-sample";
        button.title = s.title;
        button.setAttribute("aria-label", s.title);
        const image = Object.assign(document.createElement("img"), { src: s.picture, alt: "" });
        const caption = document.createElement("span");
        caption.textContent = s.label;
        button.append(image, caption);
        button.addEventListener("click", () => next(() => model.send({ type: "sample", key: s.key })));
        return button;
      }),
    );
    el.classList.toggle("koa-busy", model.get("busy"));
    el.setAttribute("aria-busy", model.get("busy"));
  };
  for (const name of ["texts", "samples", "busy"]) model.on("change:" + name, draw);
  draw();

  input.addEventListener("change", () => {
    takeNext(input.files);
    input.value = ""; // the same file may be chosen again
  });
  // The whole page takes a dropped film, so that missing the zone never opens it in the browser instead.
  const over = (e) => { e.preventDefault(); zone.classList.add("koa-over"); };
  const out = (e) => { if (!e.relatedTarget) zone.classList.remove("koa-over"); };
  const drop = (e) => { e.preventDefault(); zone.classList.remove("koa-over"); takeNext(e.dataTransfer.files); };
  const target = model.get("whole_page") ? document : el;
  target.addEventListener("dragover", over);
  target.addEventListener("dragleave", out);
  target.addEventListener("drop", drop);
  const received = (message, buffers) => { if (message.type === "download") handOut(message, buffers); };
  model.on("msg:custom", received);
  model.send({ type: "hello", reader: readerKey() });
  return () => {
    target.removeEventListener("dragover", over);
    target.removeEventListener("dragleave", out);
    target.removeEventListener("drop", drop);
    model.off("msg:custom", received);
  };
}
export default { render };
