/* What the owner's programs and devices ask the node that is no stream: a table of verbs
 * (wire/c2c_control.proto). */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/node_bind.h"
#include "c2c/node_control_private.h"
#include "c2c/node_directory_words.h"
#include "wire/message.h"

#define LIST_DEFAULT 64u
#define LIST_MAX     256u

gint64
node_now(void)
{
  return clock_unix_time();
}

Doppel__Wire__C2cRefusal
node_refusal(const GError *error)
{
  static const struct {
    DoppelErrorCode code;
    Doppel__Wire__C2cRefusal why;
  } meanings[] = {
      {DOPPEL_ERROR_NOT_FOUND, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_USER},
      {DOPPEL_ERROR_USAGE, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_USER},
      {DOPPEL_ERROR_DENIED, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED},
      {DOPPEL_ERROR_HOSTILE, DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED},
      {DOPPEL_ERROR_GONE, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY},
  };
  for (guint i = 0; error && i < G_N_ELEMENTS(meanings); i++)
    if (g_error_matches(error, DOPPEL_ERROR, (int)meanings[i].code))
      return meanings[i].why;
  return DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED;
}

void
node_answer(LocalCall *call, const ProtobufCMessage *message, gboolean more)
{
  g_autoptr(GBytes) bytes = wire_pack(message);
  local_call_answer(call, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), more);
}

void
node_refuse(LocalCall *call, const GError *error)
{
  local_call_refuse(call, node_refusal(error), error->message);
}

NodeQuestion *
node_question_new(Node *node, LocalCall *call)
{
  NodeQuestion *question = g_new0(NodeQuestion, 1);
  question->node = node;
  question->call = call;
  g_ptr_array_add(node->questions, question);
  return question;
}

void
node_question_free(NodeQuestion *question)
{
  g_ptr_array_remove_fast(question->node->questions, question);
  g_free(question->text);
  g_free(question->service);
  g_free(question->limits);
  g_free(question);
}

ProtobufCBinaryData
node_bytes(const void *data, gsize length)
{
  return (ProtobufCBinaryData){length, (guint8 *)data};
}

const IdentityPublic *
node_cursor(const ProtobufCBinaryData *bytes, IdentityPublic *after)
{
  if (bytes->len != sizeof after->bytes)
    return NULL;
  memcpy(after->bytes, bytes->data, sizeof after->bytes);
  return after;
}

static void
bind_clone(Node *node, LocalCall *call, const guint8 *body, gsize length)
{
  g_autoptr(GError) error = NULL;
  if (!node_register_bind(node, body, length, call, &error))
    node_refuse(call, error);
}

static void
tell_status(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  Doppel__Wire__ControlStatus status = DOPPEL__WIRE__CONTROL_STATUS__INIT;
  if (node->own)
    status.record = node_bytes(g_bytes_get_data(node->own->bytes, NULL), g_bytes_get_size(node->own->bytes));
  status.registered = node->registered;
  if (node->renew_at != G_MAXINT64)
    status.renewal = node_now() + (node->renew_at - clock_now_ns()) / 1000000000;
  status.trouble = node->trouble ? node->trouble : (char *)"";
  for (guint i = 0; i < node->links->len; i++) {
    const NodeLink *link = node->links->pdata[i];
    status.links += !link->ended;
    status.streams += link->ended ? 0 : mux_streams(link->mux);
  }
  status.messages_sent = node->group_sent;
  status.messages_taken = node->group_taken;
  status.processes = spawner_running(node->spawner);
  status.addresses = node->addresses;
  status.n_addresses = node->addresses ? g_strv_length(node->addresses) : 0;
  node_answer(call, &status.base, FALSE);
}

static const char *
state_text(const NodeLink *link)
{
  if (link->retired)
    return "ending";
  LinkState state = link_state(mux_link(link->mux));
  return state == LINK_UP ? "up" : state == LINK_DEAD ? "ended" : link->been_up ? "away" : "dialling";
}

static Doppel__Wire__ControlPeer *
pack_peer(Node *node, const NodeLink *link)
{
  const Record *record = link->peer->record;
  const LinkCounters *counters = link_counters(mux_link(link->mux));
  g_autoptr(NodeContact) contact = node_store_contact(node->store, NULL, &record->origin, NULL);
  Doppel__Wire__ControlPeer *peer = g_new(Doppel__Wire__ControlPeer, 1);
  doppel__wire__control_peer__init(peer);
  peer->name = g_strdup(contact ? contact->name : record->name);
  peer->origin = node_bytes(g_memdup2(&record->origin, IDENTITY_PUBLIC_LENGTH), IDENTITY_PUBLIC_LENGTH);
  peer->clone_key = node_bytes(g_memdup2(&record->clone_key, IDENTITY_PUBLIC_LENGTH), IDENTITY_PUBLIC_LENGTH);
  peer->state = g_strdup(state_text(link));
  peer->addresses = g_strdupv(record->addresses);
  peer->n_addresses = peer->addresses ? g_strv_length(peer->addresses) : 0;
  peer->dialled = link->dialled;
  peer->streams = mux_streams(link->mux);
  peer->sent = counters->bytes_sent;
  peer->received = counters->bytes_received;
  peer->reconnects = counters->reconnects;
  peer->since = link->since;
  peer->id = link->id;
  return peer;
}

/* As many as there is room for, of the links that are younger than `after`: links are in the order of their
 * ids. */
static void
add_peers(Node *node, guint64 after, Doppel__Wire__ControlPeers *peers)
{
  gsize size = doppel__wire__control_peers__get_packed_size(peers) + NODE_AROUND;
  peers->peers = g_new0(Doppel__Wire__ControlPeer *, node->links->len + 1);
  for (guint i = 0; i < node->links->len; i++) {
    const NodeLink *link = node->links->pdata[i];
    if (link->id <= after || link->ended || !link->peer || !link->peer->record)
      continue;
    Doppel__Wire__ControlPeer *peer = pack_peer(node, link);
    size += doppel__wire__control_peer__get_packed_size(peer) + NODE_AROUND;
    if (size > LOCAL_ANSWER_MAX) {
      doppel__wire__control_peer__free_unpacked(peer, NULL);
      peers->more = TRUE;
      return;
    }
    peers->peers[peers->n_peers++] = peer;
  }
}

static void
on_report(const ProtobufCMessage *answer, const GError *error, void *data)
{
  NodeQuestion *question = data;
  Node *node = question->node;
  if (question->call && error) {
    node_refuse(question->call, error);
  } else if (question->call) {
    const Doppel__Wire__ControlPeers *report = (const Doppel__Wire__ControlPeers *)answer;
    Doppel__Wire__ControlPeers *peers = g_new(Doppel__Wire__ControlPeers, 1);
    doppel__wire__control_peers__init(peers);
    if (question->after == 0) {
      peers->heads = report->heads;
      peers->n_heads = report->n_heads;
      peers->directories = report->directories;
      peers->n_directories = report->n_directories;
    }
    add_peers(node, question->after, peers);
    node_answer(question->call, &peers->base, FALSE);
    peers->heads = NULL;
    peers->n_heads = 0;
    peers->directories = NULL;
    peers->n_directories = 0;
    doppel__wire__control_peers__free_unpacked(peers, NULL);
  }
  node_question_free(question);
}

static void
tell_peers(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  NodeQuestion *question = node_question_new(node, call);
  question->after = ((const Doppel__Wire__ControlPeersPage *)body)->after;
  node_directory_report(node->directory, on_report, question);
}

static void
on_whois(Record *record, const NodeAnswer *answer, const GError *error, void *data)
{
  NodeQuestion *question = data;
  if (question->call && !record) {
    node_refuse(question->call, error);
  } else if (question->call) {
    g_autoptr(NodeContact) contact = node_store_contact(question->node->store, NULL, &record->origin, NULL);
    Doppel__Wire__ControlUser user = DOPPEL__WIRE__CONTROL_USER__INIT;
    user.record = node_bytes(g_bytes_get_data(record->bytes, NULL), g_bytes_get_size(record->bytes));
    user.contact = contact ? contact->name : (char *)"";
    user.cached = answer->cached;
    user.time = answer->time;
    user.notes = answer->notes;
    user.n_notes = answer->notes ? g_strv_length(answer->notes) : 0;
    node_answer(question->call, &user.base, FALSE);
  }
  node_question_free(question);
}

static void
tell_whois(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  const Doppel__Wire__ControlWhois *whois = (const Doppel__Wire__ControlWhois *)body;
  node_resolve(node, whois->user, whois->fresh, on_whois, node_question_new(node, call));
}

static void
on_listed(const ProtobufCMessage *answer, const GError *error, void *data)
{
  NodeQuestion *question = data;
  if (question->call && error)
    node_refuse(question->call, error);
  else if (question->call)
    node_answer(question->call, answer, FALSE);
  node_question_free(question);
}

static void
tell_list(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  const Doppel__Wire__ControlList *list = (const Doppel__Wire__ControlList *)body;
  IdentityPublic after;
  node_directory_list(node->directory, node_cursor(&list->after, &after),
                      list->count ? MIN(list->count, LIST_MAX) : LIST_DEFAULT, on_listed,
                      node_question_new(node, call));
}

typedef struct {
  const char *verb;
  const ProtobufCMessageDescriptor *body; /* NULL: none */
  void (*run)(Node *node, LocalCall *call, const ProtobufCMessage *body);
} Verb;

static const Verb verbs[] = {
    {"status", NULL, tell_status},
    {"peers", &doppel__wire__control_peers_page__descriptor, tell_peers},
    {"whois", &doppel__wire__control_whois__descriptor, tell_whois},
    {"list", &doppel__wire__control_list__descriptor, tell_list},
    {"allow", &doppel__wire__control_permit__descriptor, node_control_allow},
    {"deny", &doppel__wire__control_permit__descriptor, node_control_deny},
    {"permissions", &doppel__wire__control_permissions_page__descriptor, node_control_permissions},
    {"contacts", &doppel__wire__control_contacts_page__descriptor, node_control_contacts},
    {"contact", &doppel__wire__control_contact_edit__descriptor, node_control_contact},
    {"group", &doppel__wire__control_group_edit__descriptor, node_control_group},
};

static void
sign(Node *node, LocalCall *call, const guint8 *body, gsize length)
{
  g_autoptr(GError) error = NULL;
  guint8 bytes[IDENTITY_PUBLIC_LENGTH + IDENTITY_SIGNATURE_LENGTH];
  const NodeConfig *config = node->config;
  memcpy(bytes, identity_key_public(config->key)->bytes, IDENTITY_PUBLIC_LENGTH);
  if (!config->sign)
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE, "nothing is signed here");
  else if (config->sign(config->key, body, length, bytes + IDENTITY_PUBLIC_LENGTH, &error))
    local_call_answer(call, bytes, sizeof bytes, FALSE);
  else
    node_refuse(call, error);
}

void
node_control(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data)
{
  Node *node = data;
  if (strcmp(verb, NODE_BIND_VERB) == 0) {
    bind_clone(node, call, body, length);
    return;
  }
  if (strcmp(verb, "sign-receipt") == 0) {
    sign(node, call, body, length);
    return;
  }
  for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
    if (strcmp(verbs[i].verb, verb) != 0)
      continue;
    ProtobufCMessage *message =
        verbs[i].body ? protobuf_c_message_unpack(verbs[i].body, NULL, length, body) : NULL;
    if (verbs[i].body && !message)
      local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED, "the request is damaged");
    else
      verbs[i].run(node, call, message);
    if (message)
      protobuf_c_message_free_unpacked(message, NULL);
    return;
  }
  local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE,
                    "the clone's host does not know this request: install the same version on both");
}
