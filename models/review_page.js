(() => {
  "use strict";
  const $ = name => document.getElementById(name);
  const state = { product: "", queue: "uncertain", who: "", item: null, busy: false, again: false, turn: 0 };
  const setup = JSON.parse($("setup").textContent);

  const keep = (name, value) => { try { localStorage.setItem("skysift-review-" + name, value); } catch (e) { /* not kept */ } };
  const kept = name => { try { return localStorage.getItem("skysift-review-" + name) || ""; } catch (e) { return ""; } };
  const say = (text, bad) => { $("said").textContent = text; $("said").className = bad ? "bad" : ""; };

  async function ask(path, body) {
    const options = body === undefined ? {} : {
      method: "POST", body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", "X-Skysift-Review": "1" },
    };
    const answer = await fetch(path, options);
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      const told = found.message || found.detail || answer.statusText;
      throw new Error(typeof told === "string" ? told : JSON.stringify(told));
    }
    return found;
  }

  function row(cells) {
    const line = document.createElement("tr");
    for (const text of cells) line.appendChild(document.createElement("td")).textContent = text;
    return line;
  }

  async function show(found) {
    state.item = null;
    $("left").textContent = found.left.toLocaleString("en");
    $("mine").textContent = found.mine.toLocaleString("en");
    $("all").textContent = found.labelled.toLocaleString("en") + " of " + found.total.toLocaleString("en");
    $("told").textContent = found.note;
    const picture = $("picture"), item = found.item;
    $("name").textContent = item ? item.item_id : "Nothing is left in this queue.";
    $("facts").replaceChildren(...(item ? item.facts.map(fact => row([fact.name, fact.value, fact.unit])) : []));
    picture.hidden = !item;
    if (item) {
      // Until the new one is there a browser shows the old one, and keys would be about that.
      picture.className = "waiting";
      picture.alt = "Picture of " + item.item_id;
      picture.src = item.picture;
      await picture.decode().catch(() => { throw new Error("The picture of " + item.item_id + " does not come; reload the page."); });
      picture.className = "";
    }
    state.item = item;
    document.body.dataset.item = item ? item.item_id : "";
    document.body.dataset.turn = String(++state.turn);
  }

  function next(item) {
    const query = new URLSearchParams({ product: state.product, queue: state.queue, who: state.who });
    if (item) query.set("item", item);
    return ask("next?" + query);
  }

  async function work(act) {
    if (state.busy) return;
    if (!state.who) { $("who").focus(); say("Say who you are first.", true); return; }
    state.busy = true;
    try { await act(); } catch (error) { say(error.message, true); } finally { state.busy = false; }
    if (state.again) { state.again = false; load(); }
  }

  // What was chosen while something else went on is loaded after it; until then there is nothing to label.
  const load = () => {
    if (state.busy) { state.again = true; return; }
    state.item = null;
    work(async () => { const found = await next(); say(""); await show(found); });
  };

  const label = (name, type) => work(async () => {
    if (!state.item) return;
    const item = state.item.item_id;
    await ask("label", { product: state.product, item_id: item, label: name, type, who: state.who, why: state.queue });
    say(item + ": " + name + (type ? ", " + type.replace("_", " ") : ""));
    await show(await next());
  });

  const undo = () => work(async () => {
    const found = await ask("undo", { product: state.product, who: state.who });
    if (!found.item_id) { say("There is nothing of yours to undo."); return; }
    say("Taken back: " + found.item_id + ", " + found.label);
    await show(await next(found.item_id));
  });

  function keys() {
    const kinds = setup.products[state.product].kinds;
    const list = [["r", "real"], ["b", "bogus"], ["s", "skip: cannot tell"], ["u", "undo"],
      ...kinds.map((kind, place) => [String(place + 1), kind.text])];
    $("keys").replaceChildren(...list.map(([key, text]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.appendChild(document.createElement("kbd")).textContent = key;
      button.append(" " + text);
      button.onclick = () => press(key);
      return button;
    }));
  }

  function press(key) {
    const kind = /^[1-9]$/.test(key) ? setup.products[state.product].kinds[key - 1] : undefined;
    if (kind) label(kind.label, kind.type);
    else if (key === "r") label("real", null);
    else if (key === "b") label("bogus", null);
    else if (key === "s") label("skip", null);
    else if (key === "u") undo();
    else return false;
    return true;
  }

  function choose(select, names, value) {
    select.replaceChildren(...Object.entries(names).map(([name, text]) => new Option(text, name)));
    select.value = value;
    if (!select.value) select.selectedIndex = 0;
    return select.value;
  }

  addEventListener("keydown", event => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
    if (/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) return;
    if (press(event.key)) event.preventDefault();
  });
  const wanted = new URLSearchParams(location.search);
  const titles = Object.fromEntries(Object.entries(setup.products).map(([name, one]) => [name, one.title]));
  state.product = choose($("product"), titles, wanted.get("product") || kept("product"));
  state.queue = choose($("queue"), setup.queues, wanted.get("queue") || kept("queue"));
  state.who = $("who").value = kept("who");
  $("product").onchange = () => { state.product = $("product").value; keep("product", state.product); keys(); $("product").blur(); load(); };
  $("queue").onchange = () => { state.queue = $("queue").value; keep("queue", state.queue); $("queue").blur(); load(); };
  $("who").onchange = () => { state.who = $("who").value.trim(); keep("who", state.who); $("who").blur(); load(); };
  $("who").onkeydown = event => { if (event.key === "Enter") $("who").blur(); };
  keys();
  load();
})();
