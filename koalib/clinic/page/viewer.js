// The film and, beside it, the film with the heat map; one zoom and one position for both.
const MOST = 8;

function pane(name) {
  const figure = document.createElement("figure");
  figure.className = "koa-pane";
  const frame = document.createElement("div");
  frame.className = "koa-frame";
  const stack = document.createElement("div");
  stack.className = "koa-stack";
  const film = document.createElement("img");
  film.draggable = false;
  stack.append(film);
  frame.append(stack);
  const caption = document.createElement("figcaption");
  figure.append(frame, caption);
  return { figure, frame, stack, film, caption, name };
}

function render({ model, el }) {
  el.classList.add("koa-viewer");
  const left = pane("film"), right = pane("heat");
  const heat = document.createElement("img");
  heat.className = "koa-heat";
  heat.draggable = false;
  right.stack.append(heat);
  const panes = document.createElement("div");
  panes.className = "koa-panes";
  panes.tabIndex = 0;
  panes.setAttribute("role", "group");
  panes.append(left.figure, right.figure);

  const bar = document.createElement("div");
  bar.className = "koa-bar";
  const button = (sign) => {
    const b = Object.assign(document.createElement("button"), { type: "button", textContent: sign, className: "koa-zoom" });
    bar.append(b);
    return b;
  };
  const nearer = button("+"), farther = button("\u2212"), whole = button("");
  const share = document.createElement("span");
  share.className = "koa-scale";
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, step: 5 });
  const label = document.createElement("label");
  label.className = "koa-opacity";
  const words = document.createElement("span");
  label.append(words, slider);
  bar.append(share, label);
  el.append(panes, bar);

  let zoom = 1, x = 0, y = 0;
  const place = () => {
    const room = (zoom - 1) / 2;
    x = Math.min(room, Math.max(-room, x));
    y = Math.min(room, Math.max(-room, y));
    for (const p of [left, right]) p.stack.style.transform = `translate(${100 * x}%, ${100 * y}%) scale(${zoom})`;
    share.textContent = `${Math.round(100 * zoom)} %`;
  };
  const nearTo = (value) => { const before = zoom; zoom = Math.min(MOST, Math.max(1, value)); x *= zoom / before; y *= zoom / before; place(); };
  const reset = () => { zoom = 1; x = y = 0; place(); };
  nearer.addEventListener("click", () => nearTo(zoom * 1.25));
  farther.addEventListener("click", () => nearTo(zoom / 1.25));
  whole.addEventListener("click", reset);
  panes.addEventListener("wheel", (e) => { e.preventDefault(); nearTo(zoom * Math.exp(-e.deltaY / 400)); }, { passive: false });
  panes.addEventListener("keydown", (e) => {
    const step = 0.08;
    const act = { "+": () => nearTo(zoom * 1.25), "=": () => nearTo(zoom * 1.25), "-": () => nearTo(zoom / 1.25), 0: reset,
      ArrowLeft: () => (x += step), ArrowRight: () => (x -= step), ArrowUp: () => (y += step), ArrowDown: () => (y -= step) }[e.key];
    if (!act) return;
    e.preventDefault();
    e.stopPropagation();
    act();
    place();
  });
  let held = null;
  panes.addEventListener("pointerdown", (e) => { held = [e.clientX, e.clientY]; panes.setPointerCapture(e.pointerId); panes.classList.add("koa-held"); });
  panes.addEventListener("pointermove", (e) => {
    if (!held) return;
    const box = left.frame.getBoundingClientRect();
    x += (e.clientX - held[0]) / box.width;
    y += (e.clientY - held[1]) / box.height;
    held = [e.clientX, e.clientY];
    place();
  });
  for (const end of ["pointerup", "pointercancel"]) panes.addEventListener(end, () => { held = null; panes.classList.remove("koa-held"); });

  const fade = () => { heat.style.opacity = slider.value / 100; };
  slider.addEventListener("input", fade);
  slider.addEventListener("change", () => { model.set("opacity", slider.value / 100); model.save_changes(); });

  const draw = () => {
    const t = model.get("texts");
    left.caption.textContent = t.film;
    right.caption.textContent = t.heat;
    panes.setAttribute("aria-label", t.help);
    panes.title = t.help;
    for (const [b, words] of [[nearer, t.zoom_in], [farther, t.zoom_out], [whole, t.zoom_reset]]) { b.title = words; b.setAttribute("aria-label", words); }
    whole.textContent = t.zoom_reset;
    words.textContent = t.opacity;
    slider.setAttribute("aria-label", t.opacity);
    left.film.alt = model.get("alt");
    right.film.alt = "";
    heat.alt = t.heat;
    slider.value = Math.round(100 * model.get("opacity"));
    fade();
  };
  const show = () => {
    left.film.src = right.film.src = model.get("film");
    heat.src = model.get("heat");
    reset();
  };
  model.on("change:film change:heat", show);
  model.on("change:texts change:alt change:opacity", draw);
  draw();
  show();
}
export default { render };
