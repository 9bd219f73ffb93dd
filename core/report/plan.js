'use strict';
(() => {
  // Only so many stand in the page at a time: a browser is slow with many elements, and
  // fast with many objects.
  const step = 100;
  const changes = JSON.parse(document.getElementById('changes').textContent);
  const words = document.getElementById('words'), kind = document.getElementById('kind');
  const found = document.getElementById('found'), count = document.getElementById('count'), more = document.getElementById('more');
  let matching = [], shown = 0;

  function text(c) {
    const parts = [c.id, c.what, c.detail, c.hint];
    for (const f of c.fields || []) parts.push(f.name, f.old, f.new);
    for (const l of c.losses || []) parts.push(l.part, l.code, l.which, l.detail);
    return parts.join('\n').normalize('NFC').toLowerCase();
  }

  function element(name, className, content) {
    const e = document.createElement(name);
    if (className) e.className = className;
    if (content !== undefined) e.textContent = content; // never as HTML
    return e;
  }

  function value(v) { return v ? element('span', 'mono', v) : element('span', 'void', '(none)'); }

  function account(c) {
    const box = element('article', 'account'), head = element('h3');
    head.append(element('span', 'mono', c.id), ', ', element('b', '', c.what));
    box.append(head);
    for (const note of [c.detail, c.hint]) if (note) box.append(element('p', '', note));
    if (c.fields) {
      const table = element('table', 'fields'), top = element('tr'), body = element('tbody'), thead = element('thead');
      for (const title of ['field', 'now', 'after the run']) {
        const th = element('th', '', title);
        th.scope = 'col';
        top.append(th);
      }
      thead.append(top);
      for (const f of c.fields) {
        const row = element('tr'), name = element('th', '', f.name), before = element('td'), after = element('td');
        name.scope = 'row';
        if (f.drift) name.append(element('span', 'note', 'changed in the target since the last run'));
        before.append(value(f.old));
        after.append(value(f.new));
        row.append(name, before, after);
        body.append(row);
      }
      table.append(thead, body);
      box.append(table);
    }
    for (const l of c.losses || []) {
      box.append(element('p', '', 'without ' + l.part + (l.which ? ' ' + l.which : '') + ': ' + l.code + (l.detail ? ', ' + l.detail : '')));
    }
    return box;
  }

  function show() {
    const next = matching.slice(shown, shown + step);
    found.append(...next.map(account));
    shown += next.length;
    more.hidden = shown >= matching.length;
  }

  function search() {
    const wanted = words.value.normalize('NFC').toLowerCase().split(/\s+/).filter(w => w);
    matching = changes.filter(c => {
      if (kind.value && c.what !== kind.value) return false;
      if (!wanted.length) return true;
      const all = text(c);
      return wanted.every(w => all.includes(w));
    });
    found.replaceChildren();
    shown = 0;
    show();
    const n = v => v.toLocaleString('en');
    count.textContent = n(matching.length) + ' of ' + n(changes.length) + (matching.length > shown ? ', the first ' + n(shown) + ' are shown' : '');
  }

  document.getElementById('search').addEventListener('submit', e => e.preventDefault());
  words.addEventListener('input', search);
  kind.addEventListener('change', search);
  more.addEventListener('click', () => {
    show();
    count.textContent = count.textContent.replace(/, the first .*/, matching.length > shown ? ', the first ' + shown.toLocaleString('en') + ' are shown' : '');
  });
  search();
})();
