// Edits: asked for by dialogs and by the bar of selected images, kept in order, undone from the end, saved as a file.
function quoted(text) {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

const editLine = () => `multimap edit --run=${quoted(data.run)} --edits=edits.json --out=edited/`;

function ask(question, fields, answer) {
  const dialog = $("dialog");
  $("question").textContent = question;
  $("fields").replaceChildren(...fields);
  $("wrong").textContent = "";
  $("no").onclick = () => dialog.close();
  dialog.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    const wrong = answer();
    if (wrong) $("wrong").textContent = wrong;
    else dialog.close();
  };
  dialog.showModal();
  dialog.querySelector("input, select")?.focus();
}

function field(text, input) {
  return make("div", {}, make("label", { for: input.id }, text), input);
}

// What had the focus is made anew: it goes to the group that the edit was of, once a dialog is closed.
function edited(edit, words) {
  add({ aspect: open().name, ...edit });
  state.cell = null;
  show();
  say(words);
  const group = named(current(), edit.to ?? edit.split ?? edit.into ?? "");
  const button = group && document.querySelector(`[data-group="${group.id}"] [data-does=rename]`);
  queueMicrotask(() => (button && !button.disabled ? button : $("view")).focus({ preventScroll: true }));
}

function askRename(group) {
  const input = make("input", { id: "name", value: group.name, maxlength: LONGEST, autocomplete: "off" });
  ask(`Rename ${group.name}`, [field("New name", input)], () => {
    const to = input.value.trim();
    if (to === group.name) return "";
    const wrong = wrongName(to, [group.name]);
    if (!wrong) edited({ rename: group.name, to }, `${group.name} is called ${to}.`);
    return wrong;
  });
  input.select();
}

function askMerge(group) {
  const others = current().groups.filter((each) => each !== group && !each.into);
  const choice = make(
    "select",
    { id: "with" },
    ...others.map((each) => make("option", { value: each.name }, each.name)),
  );
  const input = make("input", { id: "into", value: group.name, maxlength: LONGEST, autocomplete: "off" });
  ask(
    `Merge ${group.name} with another group`,
    [field("The other group", choice), field("Name of both", input)],
    () => {
      if (!others.length) return "There is no other group.";
      const into = input.value.trim(),
        wrong = wrongName(into, [group.name, choice.value]);
      if (!wrong)
        edited(
          { merge: [group.name, choice.value], into },
          `${group.name} and ${choice.value} are one group, ${into}.`,
        );
      return wrong;
    },
  );
}

function askSplit(group) {
  const input = make("input", { id: "parts", type: "number", min: 2, max: Math.min(100, group.size), value: 2 });
  const note = make(
    "p",
    { class: "quiet" },
    "The parts are found by multimap edit, and called by the group's name and a number.",
  );
  ask(`Split ${group.name}`, [field("How many groups", input), note], () => {
    const into = Number(input.value),
      most = Math.min(100, group.size);
    if (!Number.isInteger(into) || into < 2 || into > most)
      return most < 2 ? "One image cannot be split." : `Give a whole number of 2 to ${most}.`;
    const names = current()
      .groups.map((each) => each.name)
      .concat(current().parts);
    const parts = new Set(Array.from({ length: into }, (_, i) => normal(`${group.name} ${i + 1}`)));
    const other = names.find((each) => parts.has(normal(each)));
    if (other) return `There is a group called ${other}: rename it first.`;
    edited({ split: group.name, into }, `${group.name} is to be split in ${into}.`);
    return "";
  });
}

function select(images, keep = false) {
  for (const i of images) {
    if (keep || !state.selected.has(i)) state.selected.add(i);
    else state.selected.delete(i);
  }
  selectionChanged();
}

function clearSelection() {
  state.selected.clear();
  selectionChanged();
}

function selectionChanged() {
  const number = state.selected.size;
  $("selection").hidden = !number || !editable;
  $("selected").textContent = `${count(number, "image")} selected`;
  const groups = current().groups.filter((group) => !group.into),
    before = $("target").value;
  $("target").replaceChildren(
    ...groups.map((group) => make("option", { value: group.name, selected: group.name === before }, group.name)),
  );
  grid?.mark();
  plot?.draw();
  say(number ? $("selected").textContent : "Nothing is selected.");
}

// Images of groups that are to be split stay in these: which part each belongs to is not known yet.
function taken(label) {
  const found = current(),
    split = new Set(found.groups.filter((group) => group.into).map((group) => group.id));
  return [...state.selected]
    .filter((i) => found.labels[i] !== label && !split.has(found.labels[i]))
    .sort((a, b) => a - b)
    .map((i) => data.names[i]);
}

function moveSelected() {
  const group = named(current(), $("target").value),
    images = group ? taken(group.id) : [];
  state.selected.clear();
  if (images.length)
    edited({ move: images, to: group.name }, `${count(images.length, "image")} moved to ${group.name}.`);
  selectionChanged();
}

function leaveSelected() {
  const images = taken(LEFT);
  state.selected.clear();
  if (images.length) edited({ leftover: images }, `${count(images.length, "image")} left over.`);
  selectionChanged();
}

function undoLast() {
  const edit = undo();
  if (!edit) return;
  const at = data.aspects.findIndex((aspect) => aspect.name === edit.aspect);
  Object.assign(state, { aspect: at, cell: null, only: null });
  show();
  selectionChanged();
  say("The last edit is undone.");
}

function saveEdits() {
  const address = URL.createObjectURL(new Blob([editsText()], { type: "application/json" }));
  make("a", { href: address, download: "edits.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  state.saved = state.edits.length;
  showEdited();
  say(`Saved. To put the edits into effect: ${editLine()}`);
}

function showEdited() {
  const number = state.edits.length,
    open = number - state.saved;
  $("undo").disabled = $("save").disabled = !number;
  $("edited").textContent = !number
    ? ""
    : open
      ? `${count(number, "edit")}, not saved`
      : `${count(number, "edit")}, saved`;
  $("then").hidden = !number || open > 0;
  $("next").textContent = editLine();
}
