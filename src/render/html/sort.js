"use strict";
// Sorts a table by a column: numbers from high to low first, texts from A to Z;
// what is missing stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort";
    button.append(...head.childNodes);
    head.append(button);
    const numeric = head.classList.contains("number");
    const value = (row) => {
      const cell = row.cells[column];
      return numeric ? parseFloat(cell.dataset.value) : cell.textContent.trim();
    };
    button.addEventListener("click", () => {
      const first = numeric ? "descending" : "ascending";
      const other = numeric ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((any) => any.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const turn = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows];
      const missing = (a) => Number(numeric && Number.isNaN(a));
      const compare = (a, b) => (numeric ? a - b : a.localeCompare(b));
      rows.sort((a, b) => {
        const [one, two] = [value(a), value(b)];
        return missing(one) - missing(two) || turn * compare(one, two) || 0;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
