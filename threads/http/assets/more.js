// Long lists show their first rows and expand on request. No box scrolls within the page: it would trap touch scrolling.

import { $, setAttr, setText, show } from './dom.js';

/** Phones show fewer rows, as each is taller. */
const narrow = matchMedia('(max-width: 640px)');

/**
 * Lets a button switch a list between all rows and the first `few`: `{wide, phone}`. Returns a function that selects the
 * rows to show from all items; `label(hidden)` is the button's text, and items for which `always(item)` holds are never
 * hidden. `redraw()` redraws the list.
 */
export function shortened(buttonId, few, redraw) {
  const button = $(buttonId);
  let all = false;
  button.addEventListener('click', () => {
    all = !all;
    redraw();
    // The page may have become much shorter.
    button.scrollIntoView({ block: 'nearest' });
  });
  return (items, label, always = () => false) => {
    const rows = narrow.matches ? few.phone : few.wide;
    const isHidden = (item, index) => index >= rows && !always(item);
    const hidden = items.filter(isHidden);
    show(button, hidden.length > 0);
    setAttr(button, 'aria-expanded', String(all));
    setText(button, all ? 'Show fewer' : label(hidden));
    return all ? items : items.filter((item, index) => !isHidden(item, index));
  };
}
