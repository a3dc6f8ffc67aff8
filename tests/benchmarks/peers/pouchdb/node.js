// A node of PouchDB: reads commands as JSON lines, answers with JSON lines. The hub serves by express-pouchdb.
"use strict";
const path = require("path");
const readline = require("readline");
const PouchDB = require("pouchdb");

const home = process.env.BENCH_HOME;
let db;
const MOMENT = Date.UTC(2024, 4, 17, 12, 30, 15, 123);

function document(number) {
  const moment = new Date(MOMENT + number * 61000 + ((number * 7919) % 1000)).toISOString();
  return {
    _id: String(number).padStart(9, "0"),
    status: "",
    created: moment,
    updated: moment,
    version: 0,
    name: `Aerodrome number ${number}`,
    code: "X" + String(number).padStart(7, "0"),
    city: `City ${number % 997}`,
    elevation: number % 9000,
    latitude: ((number * 7919) % 180000000) / 1e6 - 90,
    longitude: ((number * 104729) % 360000000) / 1e6 - 180,
  };
}

const seconds = (from) => Number(process.hrtime.bigint() - from) / 1e9;

const COMMANDS = {
  async setup() {
    db = new PouchDB(path.join(home, "rows"));
    await db.info();
    return {};
  },
  async serve() {
    const Served = PouchDB.defaults({ prefix: home + path.sep });
    const app = require("express")();
    const options = { mode: "minimumForPouchDB", inMemoryConfig: true, logPath: path.join(home, "log.txt") };
    app.use("/", require("express-pouchdb")(Served, options));
    db = new Served("rows");
    await db.info();
    return new Promise((done) => {
      const server = app.listen(0, "127.0.0.1", () => done({ url: `http://127.0.0.1:${server.address().port}/rows` }));
    });
  },
  async fill({ rows }) {
    const spent = process.hrtime.bigint();
    for (let start = 0; start < rows; start += 1000) {
      const some = [];
      for (let n = start; n < Math.min(rows, start + 1000); n++) some.push(document(n));
      await db.bulkDocs(some);
    }
    return { seconds: seconds(spent) };
  },
  async touch({ rows }) {
    const found = await db.allDocs({ limit: rows, include_docs: true });
    const elevation = Date.now() % 1000000;
    await db.bulkDocs(found.rows.map(({ doc }) => ({ ...doc, elevation })));
    return {};
  },
  async pull({ url, options }) {
    const began = process.hrtime.bigint();
    const result = await PouchDB.replicate(url, db, options);
    if (!result.ok || result.doc_write_failures) throw new Error(JSON.stringify(result.errors));
    return { seconds: seconds(began), rows: result.docs_written };
  },
  async count() {
    return { rows: (await db.info()).doc_count };
  },
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: name, ...rest } = JSON.parse(line);
    let answer;
    try {
      answer = await COMMANDS[name](rest);
    } catch (error) {
      answer = { failed: String(error.stack || JSON.stringify(error)) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
  process.exit(0);
})();
