"use strict";
// Tables are sorted by a click on a heading and filtered by words, tabs show one data set, pictures enlarge.
// Without scripts all of it stands there, one under the other.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], rows = [...body.rows];
  if (rows.length < 2) continue;
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  // Blanks are last whichever way, and a row that goes on with the one before it carries no name: such a table is not sorted.
  if (rows.every((row) => row.cells[0].textContent !== "")) {
    for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
      head.classList.add("sorts");
      head.tabIndex = 0;
      const sort = () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const compare = (a, b) => {
          const [x, y] = [key(a, column), key(b, column)];
          if (x === "" || y === "") return (x === "") - (y === "");
          const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
          return down ? -order : order;
        };
        body.append(...[...rows].sort(compare));
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
    }
  }
  if (rows.length < 5) continue;
  const filter = document.createElement("input");
  filter.type = "search";
  filter.placeholder = "filter rows";
  filter.setAttribute("aria-label", "filter rows");
  // A row that goes on with the one before it is found by that one's name too, and carries it where that one is hidden.
  let name = "";
  const named = rows.map((row) => { name = row.cells[0].innerHTML || name; return [row, row.cells[0].innerHTML, name]; });
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    let last = "";
    for (const [row, own, full] of named) {
      row.cells[0].innerHTML = full;
      row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
      if (last === full) row.cells[0].innerHTML = own;
      if (!row.hidden) last = full;
    }
  });
  table.parentElement.before(filter);
}
for (const tabs of document.querySelectorAll(".tabs")) {
  const sections = [...tabs.children];
  if (sections.length < 2) continue;
  const list = document.createElement("div");
  list.setAttribute("role", "tablist");
  const buttons = sections.map((section) => {
    const button = document.createElement("button");
    button.setAttribute("role", "tab");
    button.textContent = section.firstElementChild.textContent;
    button.addEventListener("click", () => show(section));
    section.setAttribute("role", "tabpanel");
    return button;
  });
  const show = (chosen) => sections.forEach((section, place) => {
    section.hidden = section !== chosen;
    buttons[place].setAttribute("aria-selected", String(section === chosen));
  });
  list.append(...buttons);
  tabs.before(list);
  tabs.classList.add("tabbed");
  show(sections[0]);
}
const large = document.getElementById("large");
for (const button of document.querySelectorAll("button.picture")) {
  button.addEventListener("click", () => {
    const [from, to] = [button.querySelector("img"), large.querySelector("img")];
    to.src = from.src;
    to.alt = from.alt;
    large.showModal();
  });
}
large.addEventListener("click", () => large.close());
