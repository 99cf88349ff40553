// How does a test work the official JavaScript client? A line of JSON for each request and answer:
//   in   {"id": 1, "do": "send", "channel": "room", ...}
//   out  {"id": 1, "ok": ...} or {"id": 1, "error": "..."}; {"channel": "room", "kind": "broadcast", "what": ...}
'use strict'
const readline = require('node:readline')
const { RealtimeClient } = require('@supabase/realtime-js')

let client
const channels = new Map()

// Bytes have no form in JSON.
const bytes = (key, value) =>
  value instanceof ArrayBuffer ? { base64: Buffer.from(value).toString('base64') } : value
const say = (message) => process.stdout.write(JSON.stringify(message, bytes) + '\n')
const payload = ({ payload, base64 }) =>
  base64 === undefined ? payload : new Uint8Array(Buffer.from(base64, 'base64')).buffer

const does = {
  // `reconnect` is how long to wait before each attempt, in milliseconds.
  connect({ url, reconnect, options }) {
    client = new RealtimeClient(url, { reconnectAfterMs: () => reconnect, ...options })
    client.onHeartbeat((status) => say({ channel: null, kind: 'heartbeat', what: status }))
  },

  prepare({ channel: name, config, on }) {
    const channel = client.channel(name, { config })
    channels.set(name, channel)
    for (const [kind, filter] of on) {
      channel.on(kind, filter, (what) => say({ channel: name, kind, what }))
    }
  },

  subscribe(asked) {
    does.prepare(asked)
    const tell = (what) => say({ channel: asked.channel, kind: 'state', what })
    channels.get(asked.channel).subscribe((state, error) => tell([state, error?.message]))
  },

  send: (asked) =>
    channels
      .get(asked.channel)
      .send({ type: 'broadcast', event: asked.event, payload: payload(asked) }, asked),
  post: (asked) => channels.get(asked.channel).httpSend(asked.event, payload(asked)),
  track: ({ channel, state }) => channels.get(channel).track(state),
  untrack: ({ channel }) => channels.get(channel).untrack(),
  present: ({ channel }) => channels.get(channel).presenceState(),
  leave: ({ channel }) => channels.get(channel).unsubscribe(),
  authenticate: ({ token }) => client.setAuth(token),
  disconnect: () => client.disconnect(),
}

async function answer(line) {
  const asked = JSON.parse(line)
  try {
    say({ id: asked.id, ok: (await does[asked.do](asked)) ?? null })
  } catch (error) {
    say({ id: asked.id, error: String(error) })
  }
}

const lines = readline.createInterface({ input: process.stdin })
lines.on('line', answer)
lines.on('close', () => process.exit(0))
