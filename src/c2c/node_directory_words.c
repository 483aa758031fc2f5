#include "c2c/node_directory_words.h"

#include <string.h>

#include "base/clock.h"
#include "c2c/local_packet.h"

static ProtobufCBinaryData
bytes_of(const void *data, gsize length)
{
  return (ProtobufCBinaryData){length, g_memdup2(data, length)};
}

static const DirectoryPlace *
place_of(DirectoryClient *client, const IdentityPublic *key)
{
  const GPtrArray *places = directory_client_places(client);
  for (guint i = 0; i < places->len; i++)
    if (identity_public_equal(&((const DirectoryPlace *)places->pdata[i])->key, key))
      return places->pdata[i];
  return NULL;
}

static const char *
name_of(const DirectoryPlace *place)
{
  return place->name ? place->name : place->address;
}

/* One that is asked no more has only its key. */
static char *
called(DirectoryClient *client, const IdentityPublic *key)
{
  const DirectoryPlace *place = place_of(client, key);
  return place ? g_strdup(name_of(place)) : identity_public_to_text(key);
}

static char *
complaint_note(DirectoryClient *client, const DirectoryComplaint *complaint)
{
  g_autofree char *directory = called(client, &complaint->directory),
                  *witness = called(client, &complaint->witness);
  gboolean itself = identity_public_equal(&complaint->directory, &complaint->witness);
  g_autofree char *by = itself ? g_strdup("it had told before") : g_strdup_printf("\"%s\" told", witness);
  const char *advice = "the newest is used here. Do not rely on what it says of others: keep a second "
                       "directory (\"doppel name directory add\"), and ask its operator";
  return complaint->kind == DIRECTORY_HIDES
             ? g_strdup_printf(
                   "the directory \"%s\" says that there is no \"%s\", whose home it is, but %s a "
                   "record; %s",
                   directory, complaint->name, by, advice)
             : g_strdup_printf("the directory \"%s\" gives an older record of \"%s\" than %s; %s", directory,
                               complaint->name, by, advice);
}

static char *
evidence_note(const DirectoryPlace *place, const DirectoryEvidence *evidence)
{
  return g_strdup_printf("the directory \"%s\" has contradicted itself: %s. Do not trust its list: compare "
                         "keys with those whom you look up there, and take another home (\"doppel name claim "
                         "NAME --directory ADDRESS=KEY\")",
                         name_of(place), evidence->words);
}

/* Whom the own clone asks and who does not answer. */
static void
add_away(DirectoryClient *client, GPtrArray *notes)
{
  const GPtrArray *places = directory_client_places(client);
  for (guint i = 0; i < places->len; i++) {
    const DirectoryPlace *place = places->pdata[i];
    gint64 answered, away;
    g_autofree char *why = NULL;
    directory_client_health(client, &place->key, &answered, &away, &why);
    if (away > 0)
      g_ptr_array_add(notes,
                      g_strdup_printf("the directory \"%s\" has not answered for %" G_GINT64_FORMAT " s: %s",
                                      name_of(place), MAX(clock_unix_time() - away, 0), why));
  }
}

static void
add_complaints(DirectoryClient *client, const GPtrArray *complaints, const IdentityPublic *directory,
               GPtrArray *notes)
{
  for (guint i = 0; complaints && i < complaints->len; i++) {
    const DirectoryComplaint *complaint = complaints->pdata[i];
    if (!directory || identity_public_equal(&complaint->directory, directory))
      g_ptr_array_add(notes, complaint_note(client, complaint));
  }
}

/* One of them is enough for the owner; the others are kept. */
static void
add_evidence(const DirectoryPlace *place, const GPtrArray *evidence, GPtrArray *notes)
{
  for (guint i = 0; place && evidence && i < evidence->len; i++) {
    const DirectoryEvidence *each = evidence->pdata[i];
    if (!identity_public_equal(&each->directory, &place->key))
      continue;
    g_ptr_array_add(notes, evidence_note(place, each));
    return;
  }
}

static char **
notes_free_to_strv(GPtrArray *notes, gsize *count)
{
  *count = notes->len;
  if (notes->len == 0) {
    g_ptr_array_free(notes, TRUE);
    return NULL;
  }
  g_ptr_array_add(notes, NULL);
  return (char **)g_ptr_array_free(notes, FALSE);
}

char **
node_directory_notes(DirectoryClient *client, const DirectoryResult *result)
{
  gsize count;
  GPtrArray *notes = g_ptr_array_new();
  g_autoptr(GPtrArray) complaints = directory_client_complaints(client, &result->record->origin, NULL);
  g_autoptr(GPtrArray) evidence = directory_client_evidence(client, NULL);
  add_complaints(client, complaints, NULL, notes);
  add_evidence(place_of(client, &result->record->directory), evidence, notes);
  if (result->cached)
    add_away(client, notes);
  return notes_free_to_strv(notes, &count);
}

static Doppel__Wire__ControlHead *
pack_head(DirectoryClient *client, const DirectoryHead *head)
{
  const DirectoryPlace *place = place_of(client, &head->directory);
  Doppel__Wire__ControlHead *packed = g_new(Doppel__Wire__ControlHead, 1);
  doppel__wire__control_head__init(packed);
  packed->name = g_strdup(place ? name_of(place) : "");
  packed->directory = bytes_of(head->directory.bytes, sizeof head->directory.bytes);
  packed->number = head->state.number;
  packed->chain = bytes_of(head->state.chain, sizeof head->state.chain);
  packed->time = head->time;
  return packed;
}

static void
add_trouble(Doppel__Wire__ControlPeers *peers, const GPtrArray *evidence)
{
  for (guint i = 0; i < evidence->len; i++) {
    const DirectoryEvidence *each = evidence->pdata[i];
    for (gsize k = 0; k < peers->n_heads; k++)
      if (memcmp(peers->heads[k]->directory.data, each->directory.bytes, IDENTITY_PUBLIC_LENGTH) == 0 &&
          !*peers->heads[k]->trouble)
        peers->heads[k]->trouble = g_strdup(each->words);
  }
}

static Doppel__Wire__ControlDirectory *
pack_directory(DirectoryClient *client, const DirectoryPlace *place, const GPtrArray *complaints,
               const GPtrArray *evidence)
{
  Doppel__Wire__ControlDirectory *packed = g_new(Doppel__Wire__ControlDirectory, 1);
  GPtrArray *notes = g_ptr_array_new();
  g_autofree char *why = NULL;
  doppel__wire__control_directory__init(packed);
  directory_client_health(client, &place->key, &packed->answered, &packed->away, &why);
  packed->name = g_strdup(place->name ? place->name : "");
  packed->address = g_strdup(place->address);
  packed->key = bytes_of(place->key.bytes, sizeof place->key.bytes);
  packed->why = g_strdup(why ? why : "");
  add_evidence(place, evidence, notes);
  add_complaints(client, complaints, &place->key, notes);
  packed->notes = notes_free_to_strv(notes, &packed->n_notes);
  return packed;
}

Doppel__Wire__ControlPeers *
node_directory_pack(DirectoryClient *client, GError **error)
{
  const GPtrArray *places = directory_client_places(client);
  g_autoptr(GArray) heads = directory_client_heads(client);
  g_autoptr(GPtrArray) evidence = directory_client_evidence(client, error);
  g_autoptr(GPtrArray) complaints = evidence ? directory_client_complaints(client, NULL, error) : NULL;
  if (!complaints)
    return NULL;
  Doppel__Wire__ControlPeers *peers = g_new(Doppel__Wire__ControlPeers, 1);
  doppel__wire__control_peers__init(peers);
  peers->heads = g_new0(Doppel__Wire__ControlHead *, heads->len + 1);
  for (guint i = 0; i < heads->len; i++)
    peers->heads[peers->n_heads++] = pack_head(client, &g_array_index(heads, DirectoryHead, i));
  add_trouble(peers, evidence);
  peers->directories = g_new0(Doppel__Wire__ControlDirectory *, places->len + 1);
  for (guint i = 0; i < places->len; i++)
    peers->directories[peers->n_directories++] =
        pack_directory(client, places->pdata[i], complaints, evidence);
  return peers;
}

Doppel__Wire__ControlListed *
node_directory_pack_list(DirectoryClient *client, const GPtrArray *results, const DirectoryHead *head,
                         gboolean more)
{
  Doppel__Wire__ControlListed *listed = g_new(Doppel__Wire__ControlListed, 1);
  doppel__wire__control_listed__init(listed);
  listed->head = pack_head(client, head);
  listed->more = TRUE; /* so that there is room for it */
  gsize size = doppel__wire__control_listed__get_packed_size(listed);
  listed->users = g_new0(Doppel__Wire__ControlUser *, results->len + 1);
  for (guint i = 0; i < results->len && size <= LOCAL_ANSWER_MAX; i++) {
    const DirectoryResult *result = results->pdata[i];
    Doppel__Wire__ControlUser *user = listed->users[listed->n_users++] = g_new(Doppel__Wire__ControlUser, 1);
    doppel__wire__control_user__init(user);
    user->record =
        bytes_of(g_bytes_get_data(result->record->bytes, NULL), g_bytes_get_size(result->record->bytes));
    user->cached = result->cached;
    user->time = result->told;
    size += doppel__wire__control_user__get_packed_size(user) + NODE_AROUND;
  }
  if (size > LOCAL_ANSWER_MAX)
    doppel__wire__control_user__free_unpacked(listed->users[--listed->n_users], NULL);
  listed->more = more || listed->n_users < results->len;
  return listed;
}
