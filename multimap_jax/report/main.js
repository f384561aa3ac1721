// The page around the open view.
function show() {
  const existing = Object.entries(views).filter(([, view]) => view.exists());
  if (!existing.some(([key]) => key === state.view)) state.view = "groups";
  const names = data.aspects.map((aspect, i) => [i, aspect.name]);
  tabs($("aspects"), names, state.aspect, (aspect) => {
    if (aspect !== state.aspect) openView({ aspect, only: null, cell: null, other: -1 });
  });
  const titles = existing.map(([key, view]) => [key, view.title()]);
  tabs($("views"), titles, state.view, (view) => openView({ view }));
  const host = $("view");
  host.setAttribute("aria-labelledby", `aspects-${state.aspect} views-${state.view}`);
  host.replaceChildren();
  grid = plot = null;
  showDetails(null);
  $("warnings").replaceChildren(...open().warnings.map((text) => note(text, "warning")));
  $("shown").textContent = `${open().name}: ${views[state.view].title()}`;
  $("hints").hidden = state.view !== "groups";
  views[state.view].show(host);
  showEdited();
}

function openView(change) {
  Object.assign(state, change);
  state.selected.clear();
  show();
  selectionChanged();
  announce("");
  window.scrollTo(0, 0);
}

function begin() {
  $("title").textContent = data.title;
  const warned = data.aspects.filter(({ warnings }) => warnings.length).map(({ name }) => name);
  const sentences = [`${count(data.images, "image")}, grouped by ${count(data.aspects.length, "aspect")}.`];
  if (warned.length && data.aspects.length > 1) sentences.push(`There are warnings about ${warned.join(", ")}.`);
  if (data.folder) sentences.push(`The thumbnails are in the folder ${data.folder}, next to this page.`);
  $("summary").textContent = sentences.join(" ");
  $("notes").replaceChildren(...data.notes.map((text) => note(text)));
  $("tools").hidden = $("assign").hidden = !editable;
  const actions = {
    undo: undoLast,
    save: saveEdits,
    move: moveSelected,
    leave: unassignSelected,
    clear: clearSelection,
  };
  for (const [id, action] of Object.entries(actions)) $(id).onclick = action;
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, dialog")) return;
    if (event.key === "Escape" && state.selected.size) clearSelection();
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      undoLast();
    }
  });
  window.addEventListener("resize", () => plot?.refresh());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot?.draw());
  window.addEventListener("beforeunload", (event) => {
    if (state.edits.length > state.saved) event.preventDefault();
  });
  show();
}

begin();
