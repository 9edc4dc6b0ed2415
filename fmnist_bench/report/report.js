// Sorts the tables: each heading becomes a button; the second press turns the order around.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const key = (row, i) => {
    const text = row.cells[i].dataset.key ?? row.cells[i].textContent;
    return text !== "" && !isNaN(text) ? +text : text;
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("num");
      const down = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : numeric;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = (a, b) => a === "" || b === "" ? (a === "") - (b === "") // what is missing stands last
        : (down ? -1 : 1) * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
      body.append(...[...body.rows].sort((a, b) => order(key(a, i), key(b, i))));
    });
  });
}

// Lets the table of every trial show those of one study; parameters that are cut off are shown to the pointer.
for (const table of document.querySelectorAll("table.trials")) {
  const rows = [...table.tBodies[0].rows], study = row => row.cells[0].textContent;
  for (const row of rows) row.cells[3].title = row.cells[3].textContent;
  const names = [...new Set(rows.map(study))].sort();
  if (names.length < 2) continue;
  const label = document.createElement("label"), select = document.createElement("select");
  select.append(new Option("all", ""), ...names.map(name => new Option(name)));
  select.addEventListener("change", () => {
    for (const row of rows) row.hidden = select.value !== "" && study(row) !== select.value;
  });
  label.append("Study: ", select);
  table.parentElement.before(label);
}
