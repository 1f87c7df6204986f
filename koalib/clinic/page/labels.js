// Language of the page, names of its groups of buttons and which button of a group is pressed, for screen readers.
function render({ model, el }) {
  el.hidden = true;
  const page = () => el.closest(".koa-app");
  const say = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };
  const draw = () => {
    const app = page();
    if (!app) return;
    const language = { zh: "zh-Hans" }[model.get("language")] ?? model.get("language");
    say(app, "lang", language);
    if (model.get("whole_page")) say(document.documentElement, "lang", language);
    for (const [group, name] of Object.entries(model.get("groups")))
      for (const buttons of app.getElementsByClassName(group)) {
        say(buttons, "role", "group");
        say(buttons, "aria-label", name);
        for (const button of buttons.querySelectorAll("button")) say(button, "aria-pressed", String(button.classList.contains("mod-active")));
      }
  };
  // The widgets named here appear and change after this one.
  const watch = new MutationObserver(draw);
  const start = setInterval(() => {
    if (!page()) return;
    clearInterval(start);
    watch.observe(page(), { subtree: true, childList: true, attributeFilter: ["class"] });
    draw();
  }, 50);
  model.on("change:language change:groups", draw);
  return () => { clearInterval(start); watch.disconnect(); };
}
export default { render };
