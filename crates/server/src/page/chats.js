// What is done with whole chats: kept, named, moved, deleted.

import { confirmed, entered, openSystem } from './dialogs.js';
import { count, say } from './dom.js';
import { banner } from './frame.js';
import * as store from './store.js';
import { download, exported, imported } from './transfer.js';
import { asMarkdown, freshId, titleOf } from './tree.js';

const $ = (id) => document.getElementById(id);

/** What can be done, on a desk that knows which chats there are and shows them. */
export function actions(desk) {
  async function deleteChat(one) {
    if (!(await confirmed('Delete this chat?', titleOf(one), 'Delete'))) return;
    desk.running.get(one.id)?.stop();
    await desk.running.get(one.id)?.done;
    await store.remove(one.id);
    desk.all = desk.all.filter((other) => other !== one);
    if (one === desk.chat) desk.fresh();
    desk.showChats();
    say('Deleted');
  }

  async function deleteAll() {
    const note = `${count(desk.all.length)} chats are kept in this browser and nowhere else.`;
    if (!(await confirmed('Delete all chats?', note, 'Delete all'))) return;
    for (const live of desk.running.values()) live.stop();
    await Promise.all([...desk.running.values()].map((live) => live.done));
    await store.removeAll();
    desk.all = [];
    desk.fresh();
    say('Deleted');
  }

  async function importFile(file) {
    try {
      const found = await imported(file);
      for (const one of found) {
        // Nothing that is here already is overwritten.
        if (desk.all.some((other) => other.id === one.id)) one.id = freshId();
        await store.save(one);
        desk.all.push(one);
      }
      desk.all.sort((a, b) => b.updated - a.updated);
      desk.showChats();
      banner('');
      say(`${found.length} chats imported`);
      if (found.length) desk.openChat(found[0]);
    } catch (error) {
      banner(`${file.name}: ${error.message}`);
    }
  }

  async function saveChat() {
    const dialog = $('save-dialog');
    dialog.returnValue = '';
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
    const name = titleOf(desk.chat).replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '').slice(0, 50) || 'chat';
    if (dialog.returnValue === 'json') download(`${name}.json`, 'application/json', exported([desk.chat]));
    if (dialog.returnValue === 'markdown') download(`${name}.md`, 'text/markdown', asMarkdown(desk.chat));
  }

  async function rename() {
    const title = await entered('Rename this chat', titleOf(desk.chat), 'Rename');
    if (title === null) return;
    desk.chat.title = title;
    if (desk.all.includes(desk.chat)) store.save(desk.chat);
    desk.showFrame();
    desk.showChats();
  }

  async function editSystem() {
    const text = await openSystem(desk.chat.system);
    if (text === null) return;
    desk.chat.system = text;
    if (desk.all.includes(desk.chat)) store.save(desk.chat);
    desk.showFrame();
  }

  return { deleteChat, deleteAll, importFile, saveChat, rename, editSystem };
}
