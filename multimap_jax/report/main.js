// What is open, and what the rest of the page is to it.
function show() {
  const shown = Object.entries(views).filter(([, view]) => view.there());
  if (!shown.some(([key]) => key === state.view)) state.view = "groups";
  tabs(
    $("aspects"),
    data.aspects.map((aspect, i) => [i, aspect.name]),
    state.aspect,
    (aspect) => {
      if (aspect !== state.aspect) openView({ aspect, only: null, cell: null, other: -1 });
    },
  );
  tabs(
    $("views"),
    shown.map(([key, view]) => [key, view.title()]),
    state.view,
    (view) => openView({ view }),
  );
  const host = $("view");
  host.setAttribute("aria-labelledby", `aspects-${state.aspect} views-${state.view}`);
  host.replaceChildren();
  grid = plot = null;
  showDetails(null);
  views[state.view].show(host);
  showEdited();
}

function openView(change) {
  Object.assign(state, change);
  state.selected.clear();
  show();
  selectionChanged();
  $("said").textContent = "";
  window.scrollTo(0, 0);
}

function begin() {
  $("title").textContent = data.title;
  const beside = data.folder ? `; their pictures are in the folder ${data.folder} beside this page` : "";
  $("summary").textContent =
    `${count(data.images, "image")}, grouped by ${count(data.aspects.length, "aspect")}${beside}`;
  $("notes").replaceChildren(...data.notes.map((note) => make("p", { class: "note" }, note)));
  $("tools").hidden = !editable;
  $("undo").onclick = undoLast;
  $("save").onclick = saveEdits;
  $("move").onclick = moveSelected;
  $("leave").onclick = leaveSelected;
  $("clear").onclick = clearSelection;
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest("input, select, dialog");
    if (event.key === "Escape" && state.selected.size && !writing) clearSelection();
    if (event.key === "z" && (event.ctrlKey || event.metaKey) && !writing) {
      event.preventDefault();
      undoLast();
    }
  });
  let resizing = 0;
  window.addEventListener("resize", () => {
    resizing ||= requestAnimationFrame(() => {
      resizing = 0;
      grid?.measure();
      plot?.refresh();
    });
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot?.draw());
  window.addEventListener("beforeunload", (event) => {
    if (state.edits.length > state.saved) event.preventDefault();
  });
  show();
}

begin();
