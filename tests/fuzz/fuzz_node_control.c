/* What the owner's devices ask a node, with bodies of any content, while directories answer late, find
 * somebody else or nobody, links to others come and go, and programs leave before they are answered. Each
 * call is answered once, with what its asker can unpack, whatever is in the store; lists that come in pages
 * come to an end and have everything once; and nobody may do anything whom the owner has not allowed it.
 *
 * The linker gives the node this file's calls, links and directory: see meson.build. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/node_bind.h"
#include "c2c/node_control_private.h"
#include "c2c/node_store_groups.h"
#include "c2c/node_store_private.h"
#include "identity/address.h"
#include "people.h"
#include "record_world.h"
#include "sockets.h"

#define STEPS     40
#define CALLS_MAX 64u
#define LINKS_MAX 128u
#define CROWD     300u /* contacts and permissions more than a page has */
#define FAR       40u  /* users whose links are more than a page has: of so many addresses */

typedef struct {
  const ProtobufCMessageDescriptor *answers; /* with; NULL: bytes */
  guint answered;
  gboolean good, gone;
  GBytes *answer;
} Call;

typedef enum { BY_ORIGIN, BY_NAME, LIST, REPORT, REGISTER } Kind;

/* To the directory. */
typedef struct {
  Kind kind;
  NodeFound found;
  NodePacked packed;
  NodeRegistered registered;
  void *data;
  IdentityPublic origin;
} Question;

typedef struct {
  Node node;
  NodeConfig config;
  Call calls[CALLS_MAX + 1];
  guint count;
  GArray *questions;
  int ends[LINKS_MAX]; /* the others' of links */
  guint linked;
  Input input;
} World;
static World world;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

/* ---- what the node stands on ---- */

static Call *
call_of(LocalCall *call)
{
  Call *found = (Call *)(void *)call;
  demand(found >= world.calls && found < world.calls + CALLS_MAX + 1 && !found->gone && !found->answered);
  return found;
}

/* As local.c does it. */
gboolean
__wrap_local_call_answer(LocalCall *call, const guint8 *body, gsize length, gboolean more)
{
  if (length > LOCAL_MESSAGE_MAX - 64) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, "the answer is too long");
    return FALSE;
  }
  Call *found = call_of(call);
  demand(!more);
  found->answered++;
  found->good = TRUE;
  g_clear_pointer(&found->answer, g_bytes_unref);
  found->answer = g_bytes_new(body, length);
  if (!found->answers)
    return TRUE;
  ProtobufCMessage *message = protobuf_c_message_unpack(found->answers, NULL, length, body);
  demand(message != NULL);
  protobuf_c_message_free_unpacked(message, NULL);
  return TRUE;
}

void
__wrap_local_call_refuse(LocalCall *call, Doppel__Wire__C2cRefusal why, const char *words)
{
  demand(why != 0 && words != NULL);
  call_of(call)->answered++;
}

static void
ask_directory(Question question)
{
  g_array_append_val(world.questions, question);
}

void
__wrap_node_directory_find_origin(NodeDirectory *directory, const IdentityPublic *origin, gboolean fresh,
                                  NodeFound found, void *data)
{
  ask_directory((Question){.kind = BY_ORIGIN, .found = found, .data = data, .origin = *origin});
}

void
__wrap_node_directory_find_name(NodeDirectory *directory, const char *name, gboolean fresh, NodeFound found,
                                void *data)
{
  ask_directory((Question){.kind = BY_NAME, .found = found, .data = data});
}

void
__wrap_node_directory_list(NodeDirectory *directory, const IdentityPublic *after, guint count,
                           NodePacked packed, void *data)
{
  demand(count > 0 && count <= 256);
  ask_directory((Question){.kind = LIST, .packed = packed, .data = data});
}

void
__wrap_node_directory_report(NodeDirectory *directory, NodePacked packed, void *data)
{
  ask_directory((Question){.kind = REPORT, .packed = packed, .data = data});
}

void
__wrap_node_directory_register(NodeDirectory *directory, Record *record, NodeRegistered registered,
                               void *data)
{
  demand(record != NULL);
  ask_directory((Question){.kind = REGISTER, .registered = registered, .data = data});
}

gboolean
__wrap_node_directory_configure(NodeDirectory *directory, const GPtrArray *places, GError **error)
{
  demand(places->len > 0);
  return TRUE;
}

GPtrArray *
__wrap_node_directory_heads(NodeDirectory *directory)
{
  return g_ptr_array_new();
}

Link *
__wrap_link_dial_later(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
                       const guint8 clone[16], const LinkOptions *options, GError **error)
{
  int ends[2];
  demand(addresses && addresses[0]);
  if (world.linked == LINKS_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "nobody is there");
    return NULL;
  }
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  world.ends[world.linked++] = ends[1];
  return link_new_local(ends[0]);
}

void
__wrap_link_set_addresses(Link *link, const char *const *addresses)
{
  demand(addresses && addresses[0]);
}

/* As node_groups.c keeps it, before anybody is told or after some were not reached. */
gboolean
__wrap_node_groups_send(Node *node, const char *group, const void *body, gsize length, guint64 *sequence,
                        GError **error)
{
  static const guint8 digest[TREE_DIGEST_LENGTH];
  g_autoptr(GArray) members = node_store_members(node->store, group, error);
  *sequence = node_store_last_sent(node->store) + 1;
  g_autoptr(GroupMessage) message =
      members ? group_message_new(group, identity_key_public(world.config.key), *sequence, digest, body,
                                  length, world.config.key, error)
              : NULL;
  if (!message || !node_store_keep_sent(node->store, message, members->len, error))
    return FALSE;
  if (input_below(&world.input, 2) == 0)
    return TRUE;
  demand(node_store_spread(node->store, *sequence, members, NULL));
  for (guint i = 0; i < MIN(members->len, 4); i++) {
    gsize size;
    const guint8 *bytes = input_bytes(&world.input, input_number(&world.input, 1), &size);
    g_autofree char *trouble = g_strndup((const char *)bytes, size);
    demand(
        node_store_missed(node->store, *sequence, &g_array_index(members, IdentityPublic, i), trouble, NULL));
  }
  return TRUE;
}

guint
__wrap_node_groups_reached(Node *node, guint64 sequence)
{
  return 1;
}

void
__wrap_node_groups_clear(Node *node)
{
}

guint
__wrap_spawner_running(const Spawner *spawner)
{
  return 1;
}

/* ---- what is asked ---- */

static const char *
some_text(char *room)
{
  static const char *const texts[] = {"alice", "bob",       "carol",    "zoe",    "*",       "@friends", "@",
                                      "@all",  "/programs", "home/bob", "key:no", "friends", "all",      ""};
  Input *input = &world.input;
  guint what = input_below(input, 24);
  gsize length;
  if (what < G_N_ELEMENTS(texts))
    return texts[what];
  if (what < 22) {
    g_autofree char *key = identity_public_to_text(people_origin(input_below(input, PEOPLE)));
    g_snprintf(room, 256, "key:%s", key);
    return room;
  }
  const guint8 *bytes = input_bytes(input, input_number(input, 1), &length);
  memcpy(room, bytes, length);
  room[length] = '\0';
  return room;
}

static const char *
some_service(char *room)
{
  static const char *const services[] = {"send", "forward:80", "forward:*", "*"};
  guint what = input_below(&world.input, 8);
  return what < 7 ? services[what % G_N_ELEMENTS(services)] : some_text(room);
}

static guint8 *
pack(const ProtobufCMessage *message, gsize *length)
{
  guint8 *bytes = g_malloc(protobuf_c_message_get_packed_size(message) + 1);
  *length = protobuf_c_message_pack(message, bytes);
  return bytes;
}

static guint8 *
pack_permit(gsize *length)
{
  static const char *const limits[] = {"", "streams=2", "cpu=1,memory=64M", "nonsense", "streams=0"};
  char subject[256], service[256];
  Doppel__Wire__ControlPermit permit = DOPPEL__WIRE__CONTROL_PERMIT__INIT;
  permit.subject = (char *)some_text(subject);
  permit.service = (char *)some_service(service);
  permit.limits = (char *)limits[input_below(&world.input, G_N_ELEMENTS(limits))];
  permit.forget = input_below(&world.input, 4) == 0;
  return pack(&permit.base, length);
}

static guint8 *
pack_contact(gsize *length)
{
  char user[256], name[256];
  Doppel__Wire__ControlContactEdit edit = DOPPEL__WIRE__CONTROL_CONTACT_EDIT__INIT;
  edit.user = (char *)some_text(user);
  edit.name = (char *)(input_below(&world.input, 2) ? "" : some_text(name));
  edit.forget = input_below(&world.input, 4) == 0;
  return pack(&edit.base, length);
}

/* Somebody of whom nothing is known but the key. */
static char *
stranger(guint number)
{
  IdentityPublic key = {{0}};
  key.bytes[0] = (guint8)(number >> 8);
  key.bytes[1] = (guint8)number;
  g_autofree char *text = identity_public_to_text(&key);
  return g_strconcat("key:", text, NULL);
}

static guint8 *
pack_group(gsize *length)
{
  static const char *const groups[] = {"friends", "all"};
  Input *input = &world.input;
  char group[256], name[256];
  gsize size;
  Doppel__Wire__ControlGroupEdit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  g_autoptr(GPtrArray) users = g_ptr_array_new_with_free_func(g_free);
  edit.what = input_below(input, 8);
  edit.group = (char *)(input_below(input, 8) ? groups[input_below(input, 2)] : some_text(group));
  guint named = input_below(input, 4), strangers = input_below(input, 32) ? 0 : 2 * input_number(input, 1);
  for (guint i = 0; i < named; i++)
    g_ptr_array_add(users, g_strdup(some_text(name)));
  for (guint i = 0; i < strangers; i++)
    g_ptr_array_add(users, stranger(i));
  edit.users = (char **)users->pdata;
  edit.n_users = users->len;
  edit.message.data = (guint8 *)input_bytes(input, input_number(input, 1), &edit.message.len);
  edit.after = (char *)(input_below(input, 4) ? "" : groups[input_below(input, 2)]);
  edit.sequence = input_below(input, 4);
  edit.member.data = (guint8 *)input_bytes(input, input_below(input, 4) ? 0 : 32, &size);
  edit.member.len = size;
  return pack(&edit.base, length);
}

static guint8 *
pack_list(gsize *length)
{
  gsize size;
  Doppel__Wire__ControlList list = DOPPEL__WIRE__CONTROL_LIST__INIT;
  list.after.data = (guint8 *)input_bytes(&world.input, input_below(&world.input, 2) ? 32 : 3, &size);
  list.after.len = size;
  list.count = input_number(&world.input, 2);
  return pack(&list.base, length);
}

static guint8 *
pack_contacts_page(gsize *length)
{
  gsize size;
  Doppel__Wire__ControlContactsPage page = DOPPEL__WIRE__CONTROL_CONTACTS_PAGE__INIT;
  page.after.data = (guint8 *)input_bytes(&world.input, input_below(&world.input, 2) ? 32 : 3, &size);
  page.after.len = size;
  return pack(&page.base, length);
}

static guint8 *
pack_permissions_page(gsize *length)
{
  gsize size;
  char group[256], service[256];
  Doppel__Wire__ControlPermissionsPage page = DOPPEL__WIRE__CONTROL_PERMISSIONS_PAGE__INIT;
  page.origin.data = (guint8 *)input_bytes(&world.input, input_below(&world.input, 2) ? 32 : 0, &size);
  page.origin.len = size;
  page.group = (char *)some_text(group);
  page.service = (char *)some_service(service);
  return pack(&page.base, length);
}

static guint8 *
pack_peers_page(gsize *length)
{
  Doppel__Wire__ControlPeersPage page = DOPPEL__WIRE__CONTROL_PEERS_PAGE__INIT;
  page.after = input_below(&world.input, 4);
  return pack(&page.base, length);
}

static guint8 *
pack_whois(gsize *length)
{
  char user[256];
  Doppel__Wire__ControlWhois whois = DOPPEL__WIRE__CONTROL_WHOIS__INIT;
  whois.user = (char *)some_text(user);
  return pack(&whois.base, length);
}

/* A binding of this clone, or of another one. */
static Record *
some_binding(void)
{
  static Record *records[16];
  guint which = input_below(&world.input, G_N_ELEMENTS(records));
  if (records[which])
    return records[which];
  g_autoptr(WorldUser) user = world_user_new(200 + 10 * (which % 2), "own");
  identity_key_free(user->clone);
  user->clone = world_key(which % 8 == 7 ? 301 : 300);
  memset(user->binding.clone, 7, sizeof user->binding.clone);
  user->binding.clone_key = *identity_key_public(user->clone);
  user->binding.revoked = which % 8 == 6;
  g_bytes_unref(user->hosting);
  user->hosting =
      record_sign_hosting(user->provider, user->binding.clone, &user->binding.clone_key, WORLD_TIME);
  records[which] = world_record(user, 1 + which / 2 % 3, 0, NULL);
  demand(records[which] != NULL);
  return records[which];
}

static guint8 *
pack_bind(gsize *length)
{
  const Record *record = some_binding();
  g_autoptr(GPtrArray) places = g_ptr_array_new_with_free_func((GDestroyNotify)directory_place_free);
  g_autofree char *key = identity_public_to_text(&record->directory);
  g_autofree char *text = g_strdup_printf("192.0.2.1:1=%s", key);
  g_ptr_array_add(places, directory_place_parse(text, NULL));
  g_autoptr(GBytes) bytes = node_bind_encode(record, places);
  return g_memdup2(g_bytes_get_data(bytes, NULL), *length = g_bytes_get_size(bytes));
}

static guint8 *
pack_bytes(gsize *length)
{
  gsize size;
  const guint8 *bytes = input_bytes(&world.input, input_number(&world.input, 1), &size);
  *length = size;
  return g_memdup2(size ? bytes : (const guint8 *)"", MAX(size, 1));
}

static guint8 *
pack_statement(gsize *length)
{
  *length = 8;
  return g_memdup2("receipt", 8);
}

static const struct {
  const char *verb;
  guint8 *(*pack)(gsize *length);
  const ProtobufCMessageDescriptor *answers;
} verbs[] = {
    {"group", pack_group, &doppel__wire__control_groups__descriptor},
    {"group", pack_group, &doppel__wire__control_groups__descriptor},
    {"group", pack_group, &doppel__wire__control_groups__descriptor},
    {"allow", pack_permit, &doppel__wire__control_permissions__descriptor},
    {"deny", pack_permit, &doppel__wire__control_permissions__descriptor},
    {"contact", pack_contact, &doppel__wire__control_contacts__descriptor},
    {"contact", pack_contact, &doppel__wire__control_contacts__descriptor},
    {"contacts", pack_contacts_page, &doppel__wire__control_contacts__descriptor},
    {"permissions", pack_permissions_page, &doppel__wire__control_permissions__descriptor},
    {"status", pack_bytes, &doppel__wire__control_status__descriptor},
    {"peers", pack_peers_page, &doppel__wire__control_peers__descriptor},
    {"whois", pack_whois, &doppel__wire__control_user__descriptor},
    {"list", pack_list, &doppel__wire__control_listed__descriptor},
    {"bind", pack_bind, NULL},
    {"sign-receipt", pack_statement, NULL},
    {"nothing", pack_bytes, NULL},
};

/* Mostly what makes sense. */
static Call *
ask(const char *verb, const ProtobufCMessageDescriptor *answers, const guint8 *body, gsize length)
{
  Call *call = &world.calls[world.count++];
  *call = (Call){.answers = answers};
  node_control((LocalCall *)(void *)call, verb, body, length, &world.node);
  return call;
}

/* What everybody may is changed by who says everybody, alone. */
static char *
everybodys(void)
{
  const NodeSubject first = {0};
  /* These come before all others'. */
  g_autoptr(GPtrArray) all = node_store_permissions(world.node.store, &first, "", CALLS_MAX, NULL);
  GString *text = g_string_new(NULL);
  demand(all != NULL);
  for (guint i = 0; i < all->len; i++) {
    const NodePermission *permission = all->pdata[i];
    if (g_str_equal(permission->subject, "*"))
      g_string_append_printf(text, "%s %d %s\n", permission->service, permission->allow, permission->limits);
  }
  return g_string_free(text, FALSE);
}

static gboolean
is_of_everybody(const guint8 *body, gsize length)
{
  Doppel__Wire__ControlPermit *permit = doppel__wire__control_permit__unpack(NULL, length, body);
  gboolean everybody = permit && g_str_equal(permit->subject, "*");
  if (permit)
    doppel__wire__control_permit__free_unpacked(permit, NULL);
  return everybody;
}

static void
ask_something(void)
{
  guint which = input_below(&world.input, G_N_ELEMENTS(verbs));
  gsize length;
  if (world.count == CALLS_MAX)
    return;
  g_autofree guint8 *body = input_below(&world.input, 16) ? verbs[which].pack(&length) : pack_bytes(&length);
  g_autofree char *before = everybodys();
  ask(verbs[which].verb, verbs[which].answers, body, length);
  g_autofree char *after = everybodys();
  demand(g_str_equal(before, after) || is_of_everybody(body, length));
}

/* ---- what else happens ---- */

static void
answer_found(const Question *question)
{
  static char *notes[] = {(char *)"odd", NULL};
  g_autoptr(GError) error = NULL;
  NodeAnswer how = {.cached = input_below(&world.input, 2), .time = 1};
  Record *record = people_any_record(&world.input);
  gboolean there = input_below(&world.input, 4) > 0;
  if (question->kind == BY_ORIGIN && !identity_public_equal(&record->origin, &question->origin))
    there = FALSE;
  if (input_below(&world.input, 4) == 0)
    how.notes = notes;
  if (!there)
    error = g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND, "there is no such user");
  question->found(there ? record : NULL, there ? &how : NULL, error, question->data);
}

static void
answer_packed(const Question *question)
{
  Doppel__Wire__ControlListed listed = DOPPEL__WIRE__CONTROL_LISTED__INIT;
  Doppel__Wire__ControlPeers peers = DOPPEL__WIRE__CONTROL_PEERS__INIT;
  Doppel__Wire__ControlHead head = DOPPEL__WIRE__CONTROL_HEAD__INIT, *heads[] = {&head};
  g_autoptr(GError) error = NULL;
  listed.head = &head;
  peers.heads = heads;
  peers.n_heads = 1;
  if (input_below(&world.input, 4) == 0)
    error = g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_GONE, "no directory answers");
  question->packed(error ? NULL : question->kind == LIST ? &listed.base : &peers.base, error, question->data);
}

static void
answer_one(void)
{
  if (world.questions->len == 0)
    return;
  guint number = input_number(&world.input, 1) % world.questions->len;
  const Question question = g_array_index(world.questions, Question, number);
  g_array_remove_index(world.questions, number);
  if (question.kind <= BY_NAME)
    answer_found(&question);
  else if (question.kind <= REPORT)
    answer_packed(&question);
  else
    question.registered(input_below(&world.input, 10), 1, "words", question.data);
}

/* Users of whom more is told than of others. */
static Record *
far_record(guint number)
{
  static Record *records[FAR];
  if (records[number])
    return records[number];
  g_autoptr(WorldUser) user = world_user_new(1000 + 10 * number, "far");
  g_autofree char *host = g_strnfill(IDENTITY_ADDRESS_MAX - strlen(":4280"), 'h'),
                  *address = g_strconcat(host, ":4280", NULL);
  const char *addresses[RECORD_ADDRESSES_MAX + 1] = {NULL};
  for (guint i = 0; i < RECORD_ADDRESSES_MAX; i++)
    addresses[i] = address;
  user->binding.serial = 1;
  g_autoptr(GBytes) bound = record_sign_binding(user->key, &user->binding);
  g_autoptr(GBytes) whereabouts =
      record_sign_whereabouts(user->clone, addresses, 1, WORLD_TIME, WORLD_TIME + 100);
  records[number] = record_assemble(user->root, NULL, 0, bound, user->hosting, whereabouts, NULL);
  demand(records[number] != NULL);
  return records[number];
}

/* As a program's stream makes it. */
static void
link_to(Record *record)
{
  NodePeer *peer = node_peer(&world.node, &record->origin, TRUE);
  node_peer_learn(peer, record);
  node_peer_link(peer, NULL);
}

static void
settle(void)
{
  for (guint i = 0; i < 400 && g_main_context_iteration(NULL, FALSE); i++)
    ;
}

static void
hang_up(void)
{
  guint which = input_number(&world.input, 1);
  if (world.linked == 0)
    return;
  int *end = &world.ends[which % world.linked];
  if (*end >= 0)
    close(*end);
  *end = -1;
}

/* More of everything than a page has. */
static void
crowd(void)
{
  NodeStore *store = world.node.store;
  if (world.linked == 0 && world.node.own)
    for (guint i = 0; i < FAR; i++)
      link_to(far_record(i));
  demand(node_store_begin(store, NULL));
  for (guint i = 0; i < CROWD; i++) {
    IdentityPublic origin = {{2, (guint8)(i >> 8), (guint8)i}};
    const NodeSubject subject = {.origin = &origin};
    g_autofree char *name = g_strdup_printf("crowd%u", i);
    demand(node_store_add_contact(store, name, &origin, 1, NULL) &&
           node_store_permit(store, &subject, "send", TRUE, "", 1, NULL));
  }
  demand(node_store_end(store, TRUE, NULL));
}

static gboolean
is_waited_for(const Call *call)
{
  for (guint i = 0; i < world.node.questions->len; i++)
    if ((const Call *)(void *)((const NodeQuestion *)world.node.questions->pdata[i])->call == call)
      return TRUE;
  return g_ptr_array_find(world.node.bound, call, NULL);
}

/* As node_local.c does it. */
static void
go(Call *call)
{
  if (call->answered || call->gone)
    return;
  call->gone = TRUE;
  g_ptr_array_remove_fast(world.node.bound, call);
  for (guint i = 0; i < world.node.questions->len; i++) {
    NodeQuestion *question = world.node.questions->pdata[i];
    if ((Call *)(void *)question->call == call)
      question->call = NULL;
  }
}

static void
check_calls(void)
{
  for (guint i = 0; i < world.count; i++) {
    const Call *call = &world.calls[i];
    demand(call->gone || call->answered == 1 || is_waited_for(call));
  }
}

static guint
count_members(void)
{
  guint count = 0;
  g_autoptr(GPtrArray) groups = node_store_groups(world.node.store, NULL);
  for (guint i = 0; i < groups->len; i++) {
    g_autoptr(GArray) members = node_store_members(world.node.store, groups->pdata[i], NULL);
    count += members->len;
  }
  return count;
}

static ProtobufCMessage *
ask_page(const char *verb, const ProtobufCMessage *page, const ProtobufCMessageDescriptor *descriptor)
{
  gsize length;
  g_autofree guint8 *body = pack(page, &length);
  world.count = CALLS_MAX;
  Call *call = ask(verb, descriptor, body, length);
  while (world.questions->len > 0) {
    const Question question = g_array_index(world.questions, Question, 0);
    const Doppel__Wire__ControlPeers report = DOPPEL__WIRE__CONTROL_PEERS__INIT;
    g_array_remove_index(world.questions, 0);
    question.packed(&report.base, NULL, question.data);
  }
  demand(call->answered && call->good);
  ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, NULL, g_bytes_get_size(call->answer),
                                                        g_bytes_get_data(call->answer, NULL));
  demand(message != NULL);
  g_clear_pointer(&call->answer, g_bytes_unref);
  return message;
}

static void
check_contacts(void)
{
  Doppel__Wire__ControlContactsPage page = DOPPEL__WIRE__CONTROL_CONTACTS_PAGE__INIT;
  g_autoptr(GPtrArray) all = node_store_contacts(world.node.store, NULL, G_MAXUINT, NULL);
  IdentityPublic last;
  guint told = 0;
  for (gboolean more = TRUE; more;) {
    Doppel__Wire__ControlContacts *contacts = (Doppel__Wire__ControlContacts *)ask_page(
        "contacts", &page.base, &doppel__wire__control_contacts__descriptor);
    more = contacts->more;
    demand(!more || contacts->n_contacts > 0);
    for (gsize i = 0; i < contacts->n_contacts; i++, told++)
      demand(told < all->len && memcmp(contacts->contacts[i]->origin.data,
                                       ((const NodeContact *)all->pdata[told])->origin.bytes, 32) == 0);
    if (more)
      memcpy(last.bytes, contacts->contacts[contacts->n_contacts - 1]->origin.data, sizeof last.bytes);
    page.after = (ProtobufCBinaryData){sizeof last.bytes, last.bytes};
    doppel__wire__control_contacts__free_unpacked(contacts, NULL);
  }
  demand(told == all->len);
}

static void
check_permissions(void)
{
  const NodeSubject first = {0};
  Doppel__Wire__ControlPermissionsPage page = DOPPEL__WIRE__CONTROL_PERMISSIONS_PAGE__INIT;
  Doppel__Wire__ControlPermissions *before = NULL, *permissions;
  g_autoptr(GPtrArray) all = node_store_permissions(world.node.store, &first, "", G_MAXUINT, NULL);
  guint told = 0;
  for (gboolean more = TRUE; more; before = permissions) {
    permissions = (Doppel__Wire__ControlPermissions *)ask_page(
        "permissions", &page.base, &doppel__wire__control_permissions__descriptor);
    more = permissions->more;
    demand(!more || permissions->n_permissions > 0);
    for (gsize i = 0; i < permissions->n_permissions; i++, told++) {
      const Doppel__Wire__ControlPermission *each = permissions->permissions[i];
      const NodePermission *there = told < all->len ? all->pdata[told] : NULL;
      demand(there && g_str_equal(each->subject, there->subject) &&
             g_str_equal(each->service, there->service));
      page.origin = each->origin;
      page.group = each->group;
      page.service = each->service;
    }
    if (before)
      doppel__wire__control_permissions__free_unpacked(before, NULL);
  }
  doppel__wire__control_permissions__free_unpacked(before, NULL);
  demand(told == all->len);
}

static void
check_links(void)
{
  Doppel__Wire__ControlPeersPage page = DOPPEL__WIRE__CONTROL_PEERS_PAGE__INIT;
  guint told = 0, count = 0;
  for (gboolean more = TRUE; more;) {
    Doppel__Wire__ControlPeers *peers =
        (Doppel__Wire__ControlPeers *)ask_page("peers", &page.base, &doppel__wire__control_peers__descriptor);
    more = peers->more;
    demand(!more || peers->n_peers > 0);
    for (gsize i = 0; i < peers->n_peers; i++, told++) {
      demand(peers->peers[i]->id > page.after && node_link_by_id(&world.node, peers->peers[i]->id));
      page.after = peers->peers[i]->id;
    }
    doppel__wire__control_peers__free_unpacked(peers, NULL);
  }
  for (guint i = 0; i < world.node.links->len; i++)
    count += !((const NodeLink *)world.node.links->pdata[i])->ended;
  demand(told == count);
}

/* All pages of groups: each member of each once, in order. */
static void
check_groups(void)
{
  Doppel__Wire__ControlGroupEdit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  g_autofree char *after = g_strdup("");
  IdentityPublic member;
  guint told = 0;
  gboolean more = TRUE;
  for (guint pages = 0; more; pages++) {
    edit.after = after;
    Doppel__Wire__ControlGroups *groups = (Doppel__Wire__ControlGroups *)ask_page(
        "group", &edit.base, &doppel__wire__control_groups__descriptor);
    demand(pages < 64 && (!groups->more || groups->n_groups > 0));
    more = groups->more;
    for (gsize i = 0; i < groups->n_groups; i++) {
      const Doppel__Wire__ControlGroup *group = groups->groups[i];
      gboolean goes_on = g_str_equal(group->name, after);
      demand(strcmp(group->name, after) > 0 || (goes_on && i == 0 && edit.member.len > 0));
      if (!goes_on)
        edit.member.len = 0;
      for (gsize j = 0; j < group->n_members; j++) {
        const ProtobufCBinaryData *origin = &group->members[j]->origin;
        demand(origin->len == sizeof member.bytes &&
               (edit.member.len == 0 || memcmp(origin->data, member.bytes, sizeof member.bytes) > 0));
        told++;
        memcpy(member.bytes, origin->data, sizeof member.bytes);
        edit.member = (ProtobufCBinaryData){sizeof member.bytes, member.bytes};
      }
      g_free(after);
      after = g_strdup(group->name);
    }
    doppel__wire__control_groups__free_unpacked(groups, NULL);
  }
  demand(told == count_members());
}

static char **
addresses(void *data)
{
  return g_strdupv((char **)(const char *[]){"192.0.2.7:1", NULL});
}

static gboolean
sign(const IdentityKey *key, const guint8 *statement, gsize length,
     guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error)
{
  memset(signature, 1, IDENTITY_SIGNATURE_LENGTH);
  return TRUE;
}

/* To make a new one for each input would take longer than all else. */
static NodeStore *
empty_store(void)
{
  static NodeStore *store;
  if (!store) {
    g_autofree char *directory = g_path_get_dirname(sockets_path("node.db"));
    store = node_store_open(directory, NULL);
  }
  demand(store && sqlite3_exec(store->database,
                               "DELETE FROM contact; DELETE FROM member; DELETE FROM team;"
                               "DELETE FROM permission; DELETE FROM thing; DELETE FROM awaited;"
                               "DELETE FROM message;",
                               NULL, NULL, NULL) == SQLITE_OK);
  return store;
}

static void
begin(void)
{
  static IdentityKey *key;
  Node *node = &world.node;
  if (!key)
    key = world_key(300);
  world.config = (NodeConfig){.key = key, .addresses = addresses, .sign = sign};
  memset(world.config.clone, 7, sizeof world.config.clone);
  node->config = &world.config;
  node->links = g_ptr_array_new();
  node->dials = g_ptr_array_new();
  node->bound = g_ptr_array_new();
  node->questions = g_ptr_array_new();
  node->store = empty_store();
  world.questions = g_array_new(FALSE, FALSE, sizeof(Question));
  demand(node_register_load(node, NULL));
}

static void
finish(void)
{
  Node *node = &world.node;
  while (world.questions->len > 0)
    answer_one();
  check_calls();
  demand(node->questions->len == 0);
  for (guint i = 0; i < world.count; i++) {
    go(&world.calls[i]);
    g_clear_pointer(&world.calls[i].answer, g_bytes_unref);
  }
  settle();
  check_contacts();
  check_permissions();
  check_links();
  check_groups();
  node_peers_clear(node);
  node_register_clear(node);
  g_ptr_array_unref(node->dials);
  g_ptr_array_unref(node->questions);
  for (guint i = 0; i < world.linked; i++)
    if (world.ends[i] >= 0)
      close(world.ends[i]);
  g_array_unref(world.questions);
}

static void
step(void)
{
  guint what = input_below(&world.input, 16);
  if (what <= 1)
    answer_one();
  else if (what == 2 && world.count > 0)
    go(&world.calls[input_number(&world.input, 1) % world.count]);
  else if (what == 3 && world.node.own)
    link_to(people_any_record(&world.input));
  else if (what == 4)
    hang_up();
  else if (what == 5 && input_below(&world.input, 8) == 0)
    crowd();
  else
    ask_something();
}

static GLogWriterOutput
say_nothing(GLogLevelFlags level, const GLogField *fields, gsize count, gpointer data)
{
  return G_LOG_WRITER_HANDLED;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
  people_files_in_memory();
  people_home(0); /* time stands still from now on */
  g_log_set_writer_func(say_nothing, NULL, NULL);
  return 0;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  g_main_context_default();
  guint before = sockets_open();
  world = (World){.input = {data, length}};
  begin();
  for (guint i = 0; i < STEPS && world.input.left > 0; i++) {
    step();
    settle();
    check_calls();
  }
  finish();
  demand(sockets_open() == before);
  return 0;
}
