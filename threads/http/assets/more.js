// Long lists: their first rows, and all when asked. No box scrolls within the page, where it would catch a finger.

import { $, setAttr, setText, show } from './dom.js';

/** On a phone fewer rows are as long. */
const narrow = matchMedia('(max-width: 640px)');

/**
 * A list whose button shows all of it, or its first `few`: `{wide, phone}`. Gives a function that takes all items, what to
 * call the hidden ones, and which are shown in any case, and gives those to show. `again()` shows the list anew.
 */
export function shortened(buttonId, few, again) {
  const button = $(buttonId);
  let all = false;
  button.addEventListener('click', () => {
    all = !all;
    again();
    // Else a page that became much shorter shows something else.
    button.scrollIntoView({ block: 'nearest' });
  });
  return (items, words, always = () => false) => {
    const rows = narrow.matches ? few.phone : few.wide;
    const isHidden = (item, index) => index >= rows && !always(item);
    const hidden = items.filter(isHidden);
    show(button, hidden.length > 0);
    setAttr(button, 'aria-expanded', String(all));
    setText(button, all ? 'Show fewer' : words(hidden));
    return all ? items : items.filter((item, index) => !isHidden(item, index));
  };
}
