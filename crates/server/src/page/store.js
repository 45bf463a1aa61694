// What the browser keeps: conversations in IndexedDB, settings and the key in web storage. Nothing
// of it leaves the browser but the messages of a question that is asked.

import { readChat } from './transfer.js';

const SETTINGS = 'ds4.settings';
const KEY = 'ds4.key';
const DEFAULTS = { theme: 'system', effort: 'normal', system: '', shortcuts: true, sidebar: true };

let opening = null;

function database() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('ds4', 1);
    request.onupgradeneeded = () => request.result.createObjectStore('chats', { keyPath: 'id' });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

async function run(mode, work) {
  const db = await database();
  return new Promise((resolve, reject) => {
    const transaction = db.transaction('chats', mode);
    const request = work(transaction.objectStore('chats'));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
    transaction.onerror = () => reject(transaction.error);
  });
}

/** All conversations, the latest first. What cannot be read is left where it is. */
export async function chats() {
  const found = [];
  for (const value of await run('readonly', (store) => store.getAll())) {
    try {
      found.push(readChat(value, 'chat'));
    } catch (error) {
      console.warn('a stored chat cannot be read', error);
    }
  }
  return found.sort((a, b) => b.updated - a.updated);
}

export function save(chat) {
  return run('readwrite', (store) => store.put(chat));
}

export function remove(id) {
  return run('readwrite', (store) => store.delete(id));
}

export function removeAll() {
  return run('readwrite', (store) => store.clear());
}

export function settings() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(SETTINGS) ?? '{}') };
  } catch {
    return { ...DEFAULTS };
  }
}

export function saveSettings(settings) {
  localStorage.setItem(SETTINGS, JSON.stringify(settings));
}

/** The key, and whether it outlives this tab. */
export function key() {
  const kept = localStorage.getItem(KEY);
  return { key: kept ?? sessionStorage.getItem(KEY) ?? '', isKept: kept !== null };
}

export function saveKey(key, isKept) {
  localStorage.removeItem(KEY);
  sessionStorage.removeItem(KEY);
  if (key) (isKept ? localStorage : sessionStorage).setItem(KEY, key);
}
