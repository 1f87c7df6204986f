// A table whose first cell of each row is a button: the work list and the history.
function render({ model, el }) {
  el.classList.add("koa-table");
  const table = document.createElement("table");
  el.append(table);
  const draw = () => {
    const head = document.createElement("tr");
    for (const name of model.get("columns")) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      head.append(cell);
    }
    const thead = document.createElement("thead");
    thead.append(head);
    const body = document.createElement("tbody");
    for (const row of model.get("rows")) {
      const line = document.createElement("tr");
      const now = row.key === model.get("chosen");
      if (now) line.className = "koa-now";
      row.cells.forEach((value, i) => {
        const cell = document.createElement("td");
        if (i === 0) {
          const button = Object.assign(document.createElement("button"), { type: "button", textContent: value, title: value });
          button.setAttribute("aria-label", row.label);
          button.setAttribute("aria-current", now);
          cell.append(button);
        } else if (row.tones?.[i]) {
          const chip = document.createElement("span");
          chip.className = "koa-chip koa-" + row.tones[i];
          chip.textContent = value;
          cell.append(chip);
        } else cell.textContent = value;
        line.append(cell);
      });
      line.addEventListener("click", () => { model.set("chosen", row.key); model.save_changes(); });
      body.append(line);
    }
    table.setAttribute("aria-label", model.get("name"));
    thead.hidden = !model.get("columns").some((c) => c);
    table.replaceChildren(thead, body);
  };
  model.on("change:columns change:rows change:chosen change:name", draw);
  draw();
}
export default { render };
