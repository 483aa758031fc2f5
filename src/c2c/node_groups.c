/* Messages to groups on their way, between c2c/groups.h, which knows who passes what on to whom, and the
 * node's streams. Each message takes a stream of the service "group": the message, its end, and answers. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "c2c/fd_source.h"
#include "c2c/node_groups_private.h"
#include "c2c/stream_end.h"

#define NS_PER_SECOND G_GINT64_CONSTANT(1000000000)
#define CARRY_NS      (15 * NS_PER_SECOND) /* until a member's first answer, or until a message is here */
#define SILENCE_NS    (15 * NS_PER_SECOND) /* of a member that passes it on */
#define BEAT_NS       (3 * NS_PER_SECOND)  /* after which one says that it does */
#define LETTERS_MAX   512u                 /* under way, both ways */
#define READ_MAX      4096u

/* A message on its way: out to a member, or in from one. */
typedef struct {
  NodeGroups *groups;
  guint64 id;
  GroupCarriage *carriage; /* out, along a tree */
  NodeAwaiter *awaiter;    /* out, for a member that was missed */
  NodeDial *dial;          /* out, until there is a stream */
  GBytes *packed;          /* out */
  gsize written;
  GByteArray *read, *answers; /* what is not written of these yet */
  GSource *source;
  GroupMessage *message; /* in: once it is there */
  GroupTask *task;       /* in: whose report is to follow */
  gboolean last;         /* in: nothing else is answered */
  int fd;
  gint64 deadline, beat_at;
} Letter;

static void
letter_free(Letter *letter)
{
  if (letter->source)
    fd_source_free(letter->source);
  io_close(&letter->fd);
  g_clear_pointer(&letter->packed, g_bytes_unref);
  g_clear_pointer(&letter->message, group_message_free);
  g_clear_pointer(&letter->task, group_task_unref);
  g_byte_array_unref(letter->read);
  g_byte_array_unref(letter->answers);
  g_free(letter);
}

static Letter *
letter_new(NodeGroups *groups)
{
  Letter *letter = g_new0(Letter, 1);
  letter->groups = groups;
  letter->id = ++groups->node->last;
  letter->fd = -1;
  letter->read = g_byte_array_new();
  letter->answers = g_byte_array_new();
  letter->deadline = clock_now_ns() + CARRY_NS;
  letter->beat_at = G_MAXINT64;
  g_ptr_array_add(groups->letters, letter);
  return letter;
}

static Letter *
find_letter(const NodeGroups *groups, guint64 id)
{
  for (guint i = 0; groups && i < groups->letters->len; i++)
    if (((Letter *)groups->letters->pdata[i])->id == id)
      return groups->letters->pdata[i];
  return NULL;
}

/* `words`: why whoever it was for has not got it. */
static void
end_letter(Letter *letter, const char *words)
{
  NodeGroups *groups = letter->groups;
  GroupCarriage *carriage = letter->carriage;
  NodeAwaiter *awaiter = letter->awaiter;
  g_ptr_array_remove_fast(groups->letters, letter);
  if (letter->dial)
    node_dial_cancel(letter->dial);
  letter_free(letter);
  if (carriage)
    groups_lost(carriage);
  if (awaiter)
    node_kept_brought(groups, awaiter, words);
}

/* ---- out ---- */

/* 1 when all is written, 0 not yet, -1 the stream is broken. */
static int
write_on(Letter *letter)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(letter->packed, &length);
  while (letter->written < length) {
    ssize_t put =
        send(letter->fd, bytes + letter->written, length - letter->written, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return errno == EAGAIN ? 0 : -1;
    letter->written += put;
  }
  return 1;
}

/* 1 at the end, 0 not yet, -1 it is broken or longer than it may be. */
static int
read_on(Letter *letter, gsize most)
{
  for (;;) {
    guint8 bytes[READ_MAX];
    /* Not more than may be: what was read is looked at before there is more. */
    gsize room = MIN(sizeof bytes, most + 1 - letter->read->len);
    ssize_t got = room > 0 ? recv(letter->fd, bytes, room, MSG_DONTWAIT) : -1;
    if (got < 0 && room > 0 && errno == EINTR)
      continue;
    if (got < 0)
      return room > 0 && errno == EAGAIN ? 0 : -1;
    if (got == 0)
      return 1;
    g_byte_array_append(letter->read, bytes, got);
    if (letter->read->len > most)
      return -1;
  }
}

/* FALSE: the letter is no more. */
static gboolean
take_answer(Letter *letter, const GroupAnswer *answer)
{
  if (letter->carriage) {
    if (groups_answered(letter->carriage, answer)) {
      letter->deadline = clock_now_ns() + SILENCE_NS;
      return TRUE;
    }
    letter->carriage = NULL;
    end_letter(letter, NULL);
    return FALSE;
  }
  gboolean has = answer->status == GROUP_FORWARDS || answer->status == GROUP_DELIVERED;
  g_autofree char *words = g_strdup(has ? NULL : answer->words);
  end_letter(letter, words);
  return FALSE;
}

/* FALSE: the letter is no more. */
static gboolean
take_answers(Letter *letter)
{
  for (;;) {
    g_auto(GroupAnswer) answer = {0};
    gssize taken = group_answer_take(letter->read->data, letter->read->len, &answer, NULL);
    if (taken < 0) {
      end_letter(letter, "its answer makes no sense");
      return FALSE;
    }
    if (taken == 0)
      return TRUE;
    g_byte_array_remove_range(letter->read, 0, (guint)taken);
    if (!take_answer(letter, &answer))
      return FALSE;
  }
}

/* One answer after the other, so that those who have much to say are read as they come. */
static gboolean
read_answers(Letter *letter)
{
  for (;;) {
    guint before = letter->read->len;
    int step = read_on(letter, GROUP_PREFIX + GROUP_ANSWER_MAX - 1);
    gboolean more = step < 0 && letter->read->len > before;
    if (!take_answers(letter))
      return G_SOURCE_REMOVE;
    if (step == 0)
      return G_SOURCE_CONTINUE;
    if (!more) {
      end_letter(letter, "it has broken off");
      return G_SOURCE_REMOVE;
    }
  }
}

static gboolean
on_outgoing(GIOCondition ready, void *data)
{
  Letter *letter = data;
  if (letter->written == g_bytes_get_size(letter->packed))
    return read_answers(letter);
  int step = write_on(letter);
  if (step < 0) {
    end_letter(letter, "it has broken off");
    return G_SOURCE_REMOVE;
  }
  if (step > 0) {
    letter->groups->node->group_sent++;
    shutdown(letter->fd, SHUT_WR);
    fd_source_want(letter->source, G_IO_IN);
  }
  return G_SOURCE_CONTINUE;
}

static void
on_dialled(int fd, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  Letter *letter = data;
  letter->dial = NULL;
  if (fd < 0) {
    end_letter(letter, words);
    return;
  }
  stream_end_name(fd);
  letter->fd = fd;
  letter->source = fd_source_new(fd, G_IO_OUT, NULL, on_outgoing, letter);
}

static void
start(Letter *letter, const IdentityPublic *member, GBytes *packed)
{
  NodeGroups *groups = letter->groups;
  g_autofree char *fingerprint = identity_public_to_text(member);
  g_autofree char *user = g_strconcat("key:", fingerprint, NULL);
  guint64 id = letter->id;
  letter->packed = g_bytes_ref(packed);
  NodeDial *dial = node_dial(groups->node, user, NODE_GROUP_SERVICE, on_dialled, letter);
  /* It may have failed at once, and be no more. */
  letter = dial ? find_letter(groups, id) : NULL;
  if (letter)
    letter->dial = dial;
}

static void
carry(GroupCarriage *carriage, const IdentityPublic *member, GBytes *packed, void *data)
{
  NodeGroups *groups = data;
  if (groups->letters->len >= LETTERS_MAX) {
    groups_lost(carriage);
    return;
  }
  Letter *letter = letter_new(groups);
  letter->carriage = carriage;
  start(letter, member, packed);
}

void
node_groups_bring(NodeGroups *groups, NodeAwaiter *awaiter, GBytes *packed)
{
  if (groups->letters->len >= LETTERS_MAX) {
    node_kept_brought(groups, awaiter, "too many messages are under way");
    return;
  }
  Letter *letter = letter_new(groups);
  letter->awaiter = awaiter;
  start(letter, &awaiter->origin, packed);
}

/* ---- in ---- */

static gboolean
on_answering(GIOCondition ready, void *data)
{
  Letter *letter = data;
  while (letter->answers->len > 0) {
    ssize_t put = send(letter->fd, letter->answers->data, letter->answers->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && errno == EAGAIN)
      return G_SOURCE_CONTINUE;
    if (put < 0 && errno != EINTR)
      break;
    if (put > 0)
      g_byte_array_remove_range(letter->answers, 0, (guint)put);
  }
  if (letter->answers->len > 0 || letter->last || ready & (G_IO_HUP | G_IO_ERR)) {
    end_letter(letter, NULL);
    return G_SOURCE_REMOVE;
  }
  fd_source_want(letter->source, 0);
  return G_SOURCE_CONTINUE;
}

static void
answer(Letter *letter, const GroupAnswer *answer)
{
  g_autoptr(GBytes) bytes = group_answer_new(answer);
  g_byte_array_append(letter->answers, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
  letter->last = answer->status != GROUP_FORWARDS && answer->status != GROUP_WORKING;
  letter->deadline = clock_now_ns() + CARRY_NS;
  if (letter->source)
    fd_source_want(letter->source, G_IO_OUT);
  else
    letter->source = fd_source_new(letter->fd, G_IO_OUT, NULL, on_answering, letter);
}

static void
report(Letter *letter)
{
  const GArray *missed = group_task_missed(letter->task);
  guint at = 0;
  do {
    guint count = MIN(missed->len - at, GROUP_MISSED_MAX);
    g_autoptr(GArray) part = g_array_sized_new(FALSE, FALSE, sizeof(guint), count);
    if (count > 0)
      g_array_append_vals(part, &g_array_index(missed, guint, at), count);
    at += count;
    GroupAnswer said = {.status = at < missed->len ? GROUP_WORKING : GROUP_DONE,
                        .reached = group_task_reached(letter->task),
                        .missed = part};
    answer(letter, &said);
  } while (at < missed->len);
  letter->beat_at = G_MAXINT64;
}

static void
on_over(GroupTask *task, void *data)
{
  NodeGroups *groups = data;
  for (guint i = 0; i < groups->letters->len; i++) {
    Letter *letter = groups->letters->pdata[i];
    if (letter->task == task && !letter->last)
      report(letter);
  }
  if (identity_public_equal(&group_task_message(task)->origin, &groups->node->own->origin))
    node_kept_spread(groups, task);
}

typedef struct {
  Node *node;
  guint64 letter;
} Question;

/* The record that came with the message, for where no directory can be asked: it is signed, and must not have
 * expired. */
static Record *
claimed(const GroupMessage *message, const GError *error)
{
  gsize length = 0;
  const void *bytes = message->record ? g_bytes_get_data(message->record, &length) : NULL;
  if (!bytes || g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    return NULL;
  g_autoptr(Record) record = record_decode(bytes, length, &message->origin, NULL);
  gint64 now = node_now();
  if (!record || record->revoked || record->expires <= now || record->whereabouts_expires <= now)
    return NULL;
  return g_steal_pointer(&record);
}

static void
on_sender(Record *record, const NodeAnswer *told, const GError *error, void *data)
{
  g_autofree Question *question = data;
  NodeGroups *groups = question->node->groups; /* others, where the clone is another user's now */
  Letter *letter = find_letter(groups, question->letter);
  if (!letter)
    return;
  g_autoptr(Record) sender = record ? record_ref(record) : claimed(letter->message, error);
  if (!sender) {
    /* Not a refusal: it may be known later. */
    end_letter(letter, NULL);
    return;
  }
  GroupTask *task;
  GroupAnswer said = {0};
  said.status = groups_take(groups->groups, letter->message, &sender->clone_key, &said.words, &task);
  if (task) {
    letter->task = group_task_ref(task);
    letter->beat_at = clock_now_ns() + BEAT_NS;
  }
  answer(letter, &said);
  if (task && group_task_is_over(task))
    report(letter);
  group_answer_clear(&said);
}

static gboolean
on_incoming(GIOCondition ready, void *data)
{
  Letter *letter = data;
  int step = read_on(letter, GROUP_MESSAGE_MAX);
  if (step == 0)
    return G_SOURCE_CONTINUE;
  if (step > 0)
    letter->message = group_message_decode(letter->read->data, letter->read->len, NULL);
  if (!letter->message) {
    end_letter(letter, NULL);
    return G_SOURCE_REMOVE;
  }
  g_clear_pointer(&letter->source, fd_source_free);
  g_byte_array_set_size(letter->read, 0);
  letter->groups->node->group_taken++;
  Question *question = g_new(Question, 1);
  *question = (Question){letter->groups->node, letter->id};
  node_directory_find_origin(letter->groups->node->directory, &letter->message->origin, FALSE, on_sender,
                             question);
  return G_SOURCE_REMOVE;
}

/* ---- the node's ---- */

/* The owner's list, with the owner: everybody's lists of a group are the same then. */
static GArray *
members(const char *group, void *data)
{
  NodeGroups *groups = data;
  GArray *list = node_store_members(groups->node->store, group, NULL);
  if (list)
    g_array_append_val(list, groups->node->own->origin);
  return list;
}

static NodeGroups *
ensure(Node *node)
{
  static const GroupsNode functions = {members, carry, node_given_take, on_over};
  if (node->groups || !node->own || node->own->revoked)
    return node->groups;
  NodeGroups *groups = node->groups = g_new0(NodeGroups, 1);
  groups->node = node;
  groups->letters = g_ptr_array_new();
  groups->awaiters = g_hash_table_new_full(identity_public_hash, identity_public_same, NULL, g_free);
  groups->given = node_given_new();
  groups->groups = groups_new(&node->own->origin, node->config->key, node_store_last_sent(node->store),
                              &functions, groups);
  node_kept_load(groups);
  return groups;
}

int
node_groups_serve(Node *node, GError **error)
{
  int ends[2];
  NodeGroups *groups = ensure(node);
  if (!groups || groups->letters->len >= LETTERS_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "too many messages are under way");
    return -1;
  }
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    doppel_error_errno(error, "cannot take a message");
    return -1;
  }
  Letter *letter = letter_new(groups);
  stream_end_name(ends[1]);
  letter->fd = ends[1];
  letter->source = fd_source_new(letter->fd, G_IO_IN, NULL, on_incoming, letter);
  return ends[0];
}

gboolean
node_groups_send(Node *node, const char *group, const void *body, gsize length, guint64 *sequence,
                 GError **error)
{
  NodeGroups *groups = ensure(node);
  if (!groups)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "this clone has no name yet: \"doppel name claim NAME\" gives it one");
  g_autoptr(GroupMessage) message = groups_make(groups->groups, group, body, length, error);
  g_autoptr(GArray) list = message ? node_store_members(node->store, group, error) : NULL;
  if (!list)
    return FALSE;
  guint others = list->len;
  for (guint i = 0; i < list->len; i++)
    others -= identity_public_equal(&g_array_index(list, IdentityPublic, i), &node->own->origin);
  message->record = g_bytes_ref(node->own->bytes);
  *sequence = message->sequence;
  if (!node_store_keep_sent(node->store, message, others, error))
    return FALSE;
  if (groups_send(groups->groups, message, error))
    return TRUE;
  node_store_drop_sent(node->store, message->sequence, NULL);
  return FALSE;
}

guint
node_groups_reached(Node *node, guint64 sequence)
{
  const GroupTask *task = node->groups ? groups_find(node->groups->groups, sequence) : NULL;
  return task ? group_task_reached(task) : 0;
}

gint64
node_groups_due(Node *node)
{
  const NodeGroups *groups = node->groups;
  if (!groups)
    return node->own && !node->own->revoked ? 0 : G_MAXINT64;
  const gint64 dues[] = {node_kept_due(groups), groups->offer_at};
  gint64 due = groups_due(groups->groups);
  for (guint i = 0; i < G_N_ELEMENTS(dues); i++)
    due = MIN(due, dues[i]);
  for (guint i = 0; i < groups->letters->len; i++) {
    const Letter *letter = groups->letters->pdata[i];
    /* A member that is heard of is waited for by its task. */
    gint64 of_letter = letter->beat_at != G_MAXINT64 ? letter->beat_at : letter->deadline;
    due = MIN(due, of_letter);
  }
  return due;
}

static void
beat(Letter *letter, gint64 now)
{
  letter->beat_at = now + BEAT_NS;
  if (letter->answers->len > 0)
    return;
  GroupAnswer said = {.status = GROUP_WORKING, .reached = group_task_reached(letter->task)};
  answer(letter, &said);
}

void
node_groups_tick(Node *node, gint64 now)
{
  NodeGroups *groups = ensure(node);
  if (!groups)
    return;
  for (guint i = groups->letters->len; i-- > 0;) {
    Letter *letter = i < groups->letters->len ? groups->letters->pdata[i] : NULL;
    if (!letter)
      continue;
    if (letter->beat_at != G_MAXINT64) {
      if (now >= letter->beat_at)
        beat(letter, now);
    } else if (now >= letter->deadline) {
      end_letter(letter, "it does not answer");
    }
  }
  groups_step(groups->groups, now);
  node_kept_step(groups, now);
  node_given_step(groups, now);
}

void
node_groups_clear(Node *node)
{
  NodeGroups *groups = g_steal_pointer(&node->groups);
  if (!groups)
    return;
  /* First: so that nobody is sent to in place of those who are given up. */
  groups_free(groups->groups);
  while (groups->letters->len > 0) {
    Letter *letter = groups->letters->pdata[0];
    letter->awaiter = NULL;
    end_letter(letter, NULL);
  }
  node_given_clear(groups);
  g_hash_table_unref(groups->awaiters);
  g_ptr_array_unref(groups->letters);
  g_free(groups);
}
