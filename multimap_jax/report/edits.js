// Edits: requested in dialogs and in the bar of selected images, kept in order, undone from the end, saved as a file.
function quoted(text) {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// Browsers save in Downloads; DOWNLOADED in editing/edits_file.py.
const editLine = () =>
  `multimap edit --run=${quoted(data.run)} --edits=~/Downloads/edits.json --out=${quoted(data.edited)}`;

// Opens the dialog. answer: returns what is wrong with the fields, "" once the edit is made.
function ask(verb, group, fields, answer) {
  const dialog = $("dialog");
  $("question").textContent = `${verb} ${group.name}`;
  $("yes").textContent = verb;
  $("fields").replaceChildren(...fields);
  $("wrong").textContent = "";
  $("no").onclick = () => dialog.close();
  dialog.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    $("wrong").textContent = answer();
    if (!$("wrong").textContent) dialog.close();
  };
  dialog.showModal();
  dialog.querySelector("input, select")?.focus();
}

const field = (text, input) => make("div", {}, make("label", { for: input.id }, text), input);
const nameInput = (id, value) => make("input", { id, value, maxlength: LONGEST, autocomplete: "off" });

// Elements are made anew, so focus moves to the edited group once a dialog is closed.
function makeEdit(edit, message) {
  add({ aspect: open().name, ...edit });
  state.cell = null;
  show();
  selectionChanged(); // groups to move to may have another name now
  announce(message);
  const group = named(current(), edit.to ?? edit.split ?? edit.into ?? "");
  const rename = group && document.querySelector(`[data-group="${group.id}"] [data-does=rename]`);
  queueMicrotask(() => (rename && !rename.disabled ? rename : $("view")).focus({ preventScroll: true }));
}

function askRename(group) {
  const input = nameInput("name", group.name);
  ask("Rename", group, [field("New name", input)], () => {
    const to = input.value.trim();
    if (to === group.name) return "";
    const wrong = wrongName(to, [group.name]);
    if (!wrong) makeEdit({ rename: group.name, to }, `${group.name} was renamed to ${to}.`);
    return wrong;
  });
  input.select();
}

function askMerge(group) {
  const others = current().groups.filter((other) => other !== group && !other.into);
  const choice = make("select", { id: "with" }, ...others.map(({ name }) => option(name, name)));
  const input = nameInput("into", group.name);
  const fields = [field("Merge with", choice), field("Name of the merged group", input)];
  ask("Merge", group, fields, () => {
    if (!others.length) return "There is no other group to merge with.";
    const merge = [group.name, choice.value];
    const into = input.value.trim();
    const wrong = wrongName(into, merge);
    if (!wrong) makeEdit({ merge, into }, `${merge.join(" and ")} were merged into ${into}.`);
    return wrong;
  });
}

function askSplit(group) {
  const most = Math.min(MOST_PARTS, group.size);
  const input = make("input", { id: "parts", type: "number", min: 2, max: most, value: 2 });
  const note = quiet(`The group is split when the edits are applied. The new groups will be called ${group.name} 1, ${group.name} 2 …`);
  ask("Split", group, [field("Number of groups", input), note], () => {
    const into = Number(input.value);
    if (most < 2) return "A group of one image cannot be split.";
    if (!Number.isInteger(into) || into < 2 || into > most) return `Enter a whole number from 2 to ${most}.`;
    const other = taken(Array.from({ length: into }, (_, i) => `${group.name} ${i + 1}`));
    if (other) return `There is already a group called ${other}. Rename it first.`;
    makeEdit({ split: group.name, into }, `${group.name} will be split into ${into} groups.`);
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
  const target = $("target").value;
  const groups = current().groups.filter((group) => !group.into);
  const address = number === 1 ? originalAddress(...state.selected) : null;
  $("selection").hidden = !number || !(editable || address);
  $("original").hidden = !address;
  if (address) $("original").href = address;
  $("selected").textContent = `${count(number, "image")} selected`;
  $("target").replaceChildren(...groups.map(({ name }) => option(name, name, name === target)));
  grid?.mark();
  plot?.draw();
  announce(number ? $("selected").textContent : "No images selected.");
}

// Says why the selected images stay where they are, and selected.
function refuseSelected(reason) {
  $("selected").textContent = `${count(state.selected.size, "image")} selected. ${reason}`;
  announce(reason);
}

// Assigns the selected images, also those of groups that are to be split: multimap edit splits these first.
function assignSelected(label, already, edit, message) {
  const { labels } = current();
  const images = [...state.selected].filter((i) => labels[i] !== label).sort((a, b) => a - b);
  if (!images.length) return refuseSelected(already);
  state.selected.clear();
  makeEdit(edit(images.map((i) => data.names[i])), `${count(images.length, "image")} ${message}`);
}

function moveSelected() {
  const group = named(current(), $("target").value);
  if (!group) return refuseSelected("There is no group to move to. All of them will be split first.");
  const { id, name } = group;
  assignSelected(id, `Already in ${name}.`, (move) => ({ move, to: name }), `moved to ${name}.`);
}

const unassignSelected = () =>
  assignSelected(UNASSIGNED, "Already unassigned.", (leftover) => ({ leftover }), "unassigned.");

function undoLast() {
  const edit = undo();
  if (!edit) return;
  const aspect = data.aspects.findIndex(({ name }) => name === edit.aspect);
  Object.assign(state, { aspect, cell: null, only: null });
  show();
  selectionChanged();
  announce("Last edit undone.");
}

function saveEdits() {
  const href = URL.createObjectURL(new Blob([editsText()], { type: "application/json" }));
  make("a", { href, download: "edits.json" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
  state.saved = state.edits.length;
  showEdited();
  $("then").scrollIntoView({ block: "nearest" }); // it is above the groups
  announce(`Saved. To apply the edits: ${editLine()}`);
}

function showEdited() {
  const number = state.edits.length;
  const unsaved = number > state.saved;
  $("undo").disabled = $("save").disabled = !number;
  $("edited").textContent = number ? `${count(number, "edit")}, ${unsaved ? "not saved" : "saved"}` : "";
  $("then").hidden = !number || unsaved;
  $("next").replaceChildren(command(editLine()));
}
