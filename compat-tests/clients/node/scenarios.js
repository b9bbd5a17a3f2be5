// What users do with node-zookeeper-client.
'use strict';
const zookeeper = require('node-zookeeper-client');
const readline = require('readline');
const hosts = process.argv[2];
const lines = readline.createInterface({ input: process.stdin });

function connect(to = hosts) {
  return new Promise((resolve, reject) => {
    const c = zookeeper.createClient(to, { sessionTimeout: 15000 });
    const timer = setTimeout(() => reject(new Error('not connected')), 60000);
    c.once('connected', () => { clearTimeout(timer); resolve(c); });
    c.connect();
  });
}
// Calls a method with a callback at its end; gives all results.
function call(c, method, ...args) {
  return new Promise((resolve, reject) => {
    c[method](...args, (error, ...results) => (error ? reject(error) : resolve(results)));
  });
}
function check(holds, what) {
  if (!holds) throw new Error(what);
}
async function refused(name, promise) {
  try { await promise; } catch (e) {
    check(e.getCode && e.getCode() === zookeeper.Exception[name], 'wanted ' + name + ', got ' + e);
    return;
  }
  throw new Error('wanted ' + name);
}
function watcher() {
  const events = [];
  const waiting = [];
  const f = (e) => (waiting.length ? waiting.shift()(e) : events.push(e));
  f.next = () => (events.length ? Promise.resolve(events.shift())
    : new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no event came')), 30000);
      waiting.push((e) => { clearTimeout(timer); resolve(e); });
    }));
  return f;
}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// This library has no sync: what another session wrote may not have reached this one's member yet.
async function until(holds, what) {
  for (let i = 0; i < 300; i++) {
    const value = await holds();
    if (value) return value;
    await sleep(100);
  }
  throw new Error(what);
}
async function restart() {
  const answer = new Promise((resolve) => lines.once('line', resolve));
  console.log('@restart');
  await answer;
}
// The stat of a node that must be there, asked for until there is a connection.
async function again(c, path) {
  for (let i = 0; i < 100; i++) {
    try { return (await call(c, 'exists', path))[0]; } catch (e) { await sleep(200); }
  }
  throw new Error('never connected again');
}

const scenarios = {
  async basics(c, root) {
    const [path] = await call(c, 'create', root + '/a', Buffer.from('1'));
    check(path === root + '/a', path);
    const [data, stat] = await call(c, 'getData', root + '/a');
    check(data.toString() === '1' && stat.version === 0, 'data');
    await call(c, 'setData', root + '/a', Buffer.from('2'), 0);
    await refused('BAD_VERSION', call(c, 'setData', root + '/a', Buffer.from('3'), 0));
    await refused('NODE_EXISTS', call(c, 'create', root + '/a'));
    await refused('NO_NODE', call(c, 'getData', root + '/none'));
    await call(c, 'mkdirp', root + '/x/y/z');
    await refused('NOT_EMPTY', call(c, 'remove', root + '/x'));
    for (const path of ['/x/y/z', '/x/y', '/x']) await call(c, 'remove', root + path);
    const [gone] = await call(c, 'exists', root + '/x');
    check(!gone, 'gone');
    const [s] = await call(c, 'create', root + '/s-', zookeeper.CreateMode.PERSISTENT_SEQUENTIAL);
    check(s === root + '/s-0000000002', s);
  },
  async configWatch(c, root) {
    const other = await connect();
    await call(c, 'create', root + '/config', Buffer.from('v0'));
    for (let i = 0; i < 10; i++) {
      const w = watcher();
      const [data] = await call(c, 'getData', root + '/config', w);
      check(data.toString() === 'v' + i, data.toString());
      await call(other, 'setData', root + '/config', Buffer.from('v' + (i + 1)));
      check((await w.next()).getName() === 'NODE_DATA_CHANGED', 'type');
    }
    const w = watcher();
    await call(c, 'exists', root + '/later', w);
    await call(other, 'create', root + '/later');
    check((await w.next()).getName() === 'NODE_CREATED', 'created');
    other.close();
  },
  async lock(c, root) {
    let inside = 0;
    let turns = 0;
    await Promise.all([0, 1, 2].map(async () => {
      const mine = await connect();
      for (let i = 0; i < 4; i++) {
        const [me] = await call(mine, 'create', root + '/lock-', zookeeper.CreateMode.EPHEMERAL_SEQUENTIAL);
        for (;;) {
          const [all] = await call(mine, 'getChildren', root);
          all.sort();
          const at = all.indexOf(me.substring(root.length + 1));
          if (at === 0) break;
          const w = watcher();
          const [there] = await call(mine, 'exists', root + '/' + all[at - 1], w);
          if (there) await w.next();
        }
        check(++inside === 1, 'two hold the lock');
        turns++;
        inside--;
        await call(mine, 'remove', me);
      }
      mine.close();
    }));
    check(turns === 12, turns + ' turns');
  },
  // Who has the smallest number leads; the others watch the one before them.
  async election(c, root) {
    const all = [];
    for (let i = 0; i < 3; i++) {
      const mine = await connect();
      const [place] = await call(mine, 'create', root + '/n-', zookeeper.CreateMode.EPHEMERAL_SEQUENTIAL);
      all.push({ mine, place });
    }
    for (let i = 0; i < 3; i++) {
      if (i > 0) {
        const w = watcher();
        const [there] = await call(all[i].mine, 'exists', all[i - 1].place, w);
        if (there) check((await w.next()).getName() === 'NODE_DELETED', 'the leader left');
      }
      // A write of its own is seen after all before it.
      await call(all[i].mine, 'setData', root, Buffer.from('x'));
      const [left] = await call(all[i].mine, 'getChildren', root);
      check(left.length === 3 - i, left.length + ' left');
      all[i].mine.close();
    }
  },
  async barrier(c, root) {
    await Promise.all([0, 1, 2].map(async (i) => {
      const mine = await connect();
      await call(mine, 'create', root + '/m' + i, zookeeper.CreateMode.PERSISTENT);
      for (;;) {
        const w = watcher();
        const [inside] = await call(mine, 'getChildren', root, w);
        if (inside.length === 3) break;
        await w.next();
      }
      mine.close();
    }));
  },
  async registry(c, root) {
    const servers = [];
    for (let i = 0; i < 3; i++) {
      servers.push(await connect());
      await call(servers[i], 'create', root + '/host-', Buffer.from('10.0.0.' + i + ':80'),
        zookeeper.CreateMode.EPHEMERAL_SEQUENTIAL);
    }
    const w = watcher();
    const found = await until(async () => {
      const [names] = await call(c, 'getChildren', root);
      return names.length === 3 && names.sort();
    }, 'three hosts');
    await call(c, 'getChildren', root, w);
    const [data] = await call(c, 'getData', root + '/' + found[1]);
    check(data.toString() === '10.0.0.1:80', data.toString());
    servers[1].close();
    check((await w.next()).getName() === 'NODE_CHILDREN_CHANGED', 'one left');
    servers[0].close();
    servers[2].close();
  },
  async chroot(c, root) {
    const inside = await connect(hosts + root);
    const [path] = await call(inside, 'create', '/x', Buffer.from('1'));
    check(path === '/x', path);
    await until(async () => (await call(c, 'exists', root + '/x'))[0], 'outside');
    inside.close();
  },
  async queue(c, root) {
    for (let i = 0; i < 20; i++) {
      await call(c, 'create', root + '/i-', Buffer.from('' + i), zookeeper.CreateMode.PERSISTENT_SEQUENTIAL);
    }
    for (let i = 0; i < 20; i++) {
      const [items] = await call(c, 'getChildren', root);
      items.sort();
      const [data] = await call(c, 'getData', root + '/' + items[0]);
      check(data.toString() === '' + i, 'order');
      await call(c, 'remove', root + '/' + items[0]);
    }
  },
  async membership(c, root) {
    const w = watcher();
    await call(c, 'getChildren', root, w);
    const other = await connect();
    await call(other, 'create', root + '/m', zookeeper.CreateMode.EPHEMERAL);
    check((await w.next()).getName() === 'NODE_CHILDREN_CHANGED', 'joined');
    const w2 = watcher();
    await call(c, 'getChildren', root, w2);
    other.close();
    check((await w2.next()).getName() === 'NODE_CHILDREN_CHANGED', 'left');
  },
  async multi(c, root) {
    const run = (t) => new Promise((resolve, reject) => t.commit((e, r) => (e ? reject(e) : resolve(r))));
    await run(c.transaction().create(root + '/a', Buffer.from('1')).setData(root + '/a', Buffer.from('2'), 0)
      .check(root + '/a', 1));
    await refused('NO_NODE', run(c.transaction().create(root + '/b').remove(root + '/none')));
    const [there] = await call(c, 'exists', root + '/b');
    check(!there, 'nothing may be done');
  },
  async acl(c, root) {
    const bob = await connect();
    bob.addAuthInfo('digest', Buffer.from('bob:secret'));
    await call(bob, 'create', root + '/mine', Buffer.from('x'), zookeeper.ACL.CREATOR_ALL_ACL);
    // NO_NODE until it is there.
    await until(() => refused('NO_AUTH', call(c, 'getData', root + '/mine')).then(() => true, () => false), 'mine');
    await call(bob, 'getData', root + '/mine');
    const [acls] = await call(bob, 'getACL', root + '/mine');
    check(acls[0].id.scheme === 'digest', 'scheme');
    await call(bob, 'setACL', root + '/mine', zookeeper.ACL.OPEN_ACL_UNSAFE, -1);
    await until(() => call(c, 'getData', root + '/mine').catch(() => null), 'open now');
    bob.close();
  },
  async large(c, root) {
    const all = [];
    for (let i = 0; i < 1000; i++) all.push(call(c, 'create', root + '/n' + i));
    await Promise.all(all);
    const [children] = await call(c, 'getChildren', root);
    check(children.length === 1000, children.length);
    await call(c, 'create', root + '/big', Buffer.alloc(1000000, 'x'));
    const [data] = await call(c, 'getData', root + '/big');
    check(data.length === 1000000, 'big');
  },
  async reconnect(c, root) {
    await call(c, 'create', root + '/e', zookeeper.CreateMode.EPHEMERAL);
    const id = c.getSessionId().toString('hex');
    await restart();
    const stat = await again(c, root + '/e');
    check(stat && stat.ephemeralOwner.toString('hex') === id, 'the session and its node go on');
    check(c.getSessionId().toString('hex') === id, 'another session');
  },
  // Many sessions come back at once.
  async storm(c, root) {
    const all = [];
    for (let i = 0; i < 50; i++) {
      const mine = await connect();
      await call(mine, 'create', root + '/e' + i, zookeeper.CreateMode.EPHEMERAL);
      all.push(mine);
    }
    const ids = all.map((mine) => mine.getSessionId().toString('hex'));
    await restart();
    for (let i = 0; i < all.length; i++) {
      const stat = await again(all[i], root + '/e' + i);
      check(stat && stat.ephemeralOwner.toString('hex') === ids[i], 'session ' + i);
      all[i].close();
    }
  },
};

(async () => {
  let good = true;
  for (const [name, run] of Object.entries(scenarios)) {
    try {
      const c = await connect();
      await call(c, 'create', '/' + name);
      await run(c, '/' + name);
      c.close();
      console.log('ok ' + name);
    } catch (e) {
      console.error(e);
      console.log('FAILED ' + name + ': ' + e);
      good = false;
    }
  }
  process.exit(good ? 0 : 1);
})();
