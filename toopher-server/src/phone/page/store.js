// The storage of the page: the registration of this phone, and the keys of its codes.

// Servers with the same origin and different paths share the storage, but not the phone.
const NAME = `toopher-phone ${new URL(".", import.meta.url).pathname}`;

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

let opened = null;

async function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("device");
      request.result.createObjectStore("keys", { keyPath: "id" });
    };
    request.onsuccess = () => {
      // Lets a newer version of the page in another tab upgrade the database.
      request.result.onversionchange = () => request.result.close();
      request.result.onclose = () => { opened = null; };
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("Another tab has an older version of this page open. Close it."));
  });
  try {
    return await opened;
  } catch (error) {
    opened = null;
    throw error;
  }
}

// Resolves once the data is written.
async function write(store, act) {
  const transaction = (await database()).transaction(store, "readwrite", { durability: "strict" });
  const done = new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });
  act(transaction.objectStore(store));
  await done;
}

async function read(store, act) {
  return settled(act((await database()).transaction(store).objectStore(store)));
}

export const device = () => read("device", (store) => store.get("device"));
export const deleteDevice = () => write("device", (store) => store.delete("device"));
export const skew = () => read("device", (store) => store.get("skew"));
export const putSkew = (skew) => write("device", (store) => store.put(skew, "skew"));
export const keys = () => read("keys", (store) => store.getAll());
export const putKey = (key) => write("keys", (store) => store.put(key));
export const deleteKey = (id) => write("keys", (store) => store.delete(id));

// Keeps the first one: another tab may have registered at the same time.
export async function addDevice(device) {
  try {
    await write("device", (store) => store.add(device, "device"));
  } catch (error) {
    if (error?.name !== "ConstraintError") {
      throw error;
    }
  }
}

// Fails if the browser cannot store a key. Checked before the server sends one, which it only does once.
export async function probe() {
  const key = await crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
  await write("keys", (store) => {
    store.put({ id: "", key });
    store.delete("");
  });
}
