#include "replica/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/apply.h"
#include "replica/message.h"
#include "replica/path.h"

#define SUFFIX   ".journal"
#define STEP_MAX (64u << 20) /* bytes of one step: a list of every block of a large file */

static const char *const suffixes[] = {SUFFIX, ".undo", ".data"};
static const char magic[8] = "doppelJ1";

typedef enum { RUNNING, UNDOING, COMMITTED } Phase;

/* The head of a journal file: one write() of it is the one thing that moves. */
typedef struct {
  char magic[8];
  guint32 phase;
  guint32 begun; /* steps that may have been done, the last perhaps in part */
} Head;

static gboolean
write_head(ReplicaJournal *journal, Phase phase)
{
  Head head = {.phase = phase, .begun = journal->begun};
  memcpy(head.magic, magic, sizeof magic);
  return pwrite(journal->fd, &head, sizeof head, 0) == sizeof head;
}

static int
open_part(ReplicaJournal *journal, const char *suffix, int flags)
{
  g_autofree char *name = g_strconcat(journal->name, suffix, NULL);
  return openat(journal->state, name, flags | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static ReplicaJournal *
journal_alloc(int state, const char *name)
{
  ReplicaJournal *journal = g_new0(ReplicaJournal, 1);
  journal->state = fcntl(state, F_DUPFD_CLOEXEC, 3);
  journal->name = g_strdup(name);
  journal->fd = journal->undo = journal->data = -1;
  journal->steps = g_ptr_array_new_with_free_func((GDestroyNotify)replica_step_free);
  return journal;
}

ReplicaJournal *
replica_journal_new(int state, GError **error)
{
  guint8 random[8];
  char name[2 * sizeof random + 1];
  randombytes_buf(random, sizeof random);
  sodium_bin2hex(name, sizeof name, random, sizeof random);
  g_autoptr(ReplicaJournal) journal = journal_alloc(state, name);
  int flags = O_CREAT | O_EXCL;
  journal->fd = open_part(journal, SUFFIX, flags);
  if (journal->fd < 0 || flock(journal->fd, LOCK_EX | LOCK_NB) < 0 || !write_head(journal, RUNNING) ||
      (journal->undo = open_part(journal, ".undo", flags)) < 0 ||
      (journal->data = open_part(journal, ".data", flags)) < 0) {
    doppel_error_errno(error, "cannot start a journal of changes to files");
    return NULL;
  }
  lseek(journal->fd, sizeof(Head), SEEK_SET);
  return g_steal_pointer(&journal);
}

void
replica_journal_free(ReplicaJournal *journal)
{
  io_close(&journal->state);
  io_close(&journal->fd);
  io_close(&journal->undo);
  io_close(&journal->data);
  g_ptr_array_unref(journal->steps);
  g_free(journal->name);
  g_free(journal);
}

static void
remove_files(ReplicaJournal *journal)
{
  for (guint i = G_N_ELEMENTS(suffixes);
       i-- > 0;) { /* the journal itself last: it is what finds the others */
    g_autofree char *name = g_strconcat(journal->name, suffixes[i], NULL);
    unlinkat(journal->state, name, 0);
  }
}

static GBytes *
pack_step(const ReplicaStep *step)
{
  Doppel__Wire__ReplicaJournalStep message = DOPPEL__WIRE__REPLICA_JOURNAL_STEP__INIT;
  Doppel__Wire__ReplicaFacts old_facts, new_facts;
  replica_facts_to_message(&step->old_facts, &old_facts);
  replica_facts_to_message(&step->new_facts, &new_facts);
  message.kind = step->kind;
  message.path = replica_path_to_message(step->path);
  message.other = replica_path_to_message(step->other);
  message.aside = replica_path_to_message(step->aside);
  message.dev = step->dev;
  message.ino = step->ino;
  message.old_ino = step->old_ino;
  message.old_facts = &old_facts;
  message.new_facts = &new_facts;
  message.set = step->set;
  message.undo = step->undo;
  message.n_saved = step->saved ? step->saved->len : 0;
  g_autofree Doppel__Wire__ReplicaJournalStep__Saved *saved =
      g_new(Doppel__Wire__ReplicaJournalStep__Saved, message.n_saved);
  g_autofree Doppel__Wire__ReplicaJournalStep__Saved **pointers =
      g_new(Doppel__Wire__ReplicaJournalStep__Saved *, message.n_saved);
  for (gsize i = 0; i < message.n_saved; i++) {
    const ReplicaSaved *piece = &g_array_index(step->saved, ReplicaSaved, i);
    doppel__wire__replica_journal_step__saved__init(&saved[i]);
    saved[i].offset = piece->offset;
    saved[i].length = piece->length;
    saved[i].at = piece->at;
    pointers[i] = &saved[i];
  }
  message.saved = pointers;
  return replica_message_pack(&message.base);
}

gboolean
replica_journal_add(ReplicaJournal *journal, ReplicaStep *step, GError **error)
{
  g_ptr_array_add(journal->steps, step);
  g_autoptr(GBytes) packed = pack_step(step);
  gsize length;
  const guint8 *data = g_bytes_get_data(packed, &length);
  guint32 prefix = length;
  if (length > STEP_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "%s changed in too many places", step->path);
  if (io_write_all(journal->fd, &prefix, sizeof prefix) && io_write_all(journal->fd, data, length))
    return TRUE;
  return doppel_error_errno(error, "cannot write the journal of changes to files");
}

gboolean
replica_journal_run(ReplicaJournal *journal, int root, GError **error)
{
  while (journal->begun < journal->steps->len) {
    const ReplicaStep *step = journal->steps->pdata[journal->begun++];
    if (!write_head(journal, RUNNING))
      return doppel_error_errno(error, "cannot write the journal of changes to files");
    if (!replica_step_run(root, step, journal->data, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
replica_journal_undo(ReplicaJournal *journal, int root, GError **error)
{
  for (; journal->begun > 0; journal->begun--) {
    write_head(journal, UNDOING);
    if (!replica_step_undo(root, journal->steps->pdata[journal->begun - 1], journal->undo, error))
      return FALSE;
  }
  remove_files(journal);
  return TRUE;
}

static gboolean
sweep(ReplicaJournal *journal, int root, GError **error)
{
  gboolean good = TRUE;
  for (guint i = 0; i < journal->steps->len; i++)
    if (!replica_step_sweep(root, journal->steps->pdata[i], good ? error : NULL))
      good = FALSE;
  if (good)
    remove_files(journal);
  return good;
}

void
replica_journal_commit(ReplicaJournal *journal, int root)
{
  g_autoptr(GError) error = NULL;
  write_head(journal, COMMITTED);
  if (!sweep(journal, root, &error))
    g_warning("%s", error->message);
}

gboolean
replica_journal_stands(int fd)
{
  Head head;
  return pread(fd, &head, sizeof head, 0) == sizeof head && memcmp(head.magic, magic, sizeof magic) == 0 &&
         head.phase == COMMITTED;
}

gboolean
replica_journal_sync(ReplicaJournal *journal, GError **error)
{
  if (fdatasync(journal->undo) == 0 && fdatasync(journal->fd) == 0)
    return TRUE;
  return doppel_error_errno(error, "cannot write the journal of changes to files to the disk");
}

static char *
optional_path(const ProtobufCBinaryData *data)
{
  return replica_path_from_message(data, TRUE, NULL);
}

/* A step from the disk: checked like one from a peer, since it says what is renamed and removed. */
static ReplicaStep *
unpack_step(const guint8 *data, gsize length)
{
  Doppel__Wire__ReplicaJournalStep *message = doppel__wire__replica_journal_step__unpack(NULL, length, data);
  if (!message)
    return NULL;
  g_autoptr(ReplicaStep) step = g_new0(ReplicaStep, 1);
  step->kind = message->kind;
  step->path = optional_path(&message->path);
  step->other = optional_path(&message->other);
  step->aside = optional_path(&message->aside);
  step->dev = message->dev;
  step->ino = message->ino;
  step->old_ino = message->old_ino;
  step->set = message->set;
  step->undo = message->undo;
  gboolean good = step->kind <= REPLICA_STEP_HOST && step->path && step->other && step->aside &&
                  replica_facts_from_message(message->old_facts, &step->old_facts, NULL) &&
                  replica_facts_from_message(message->new_facts, &step->new_facts, NULL);
  step->saved = g_array_new(FALSE, FALSE, sizeof(ReplicaSaved));
  for (gsize i = 0; i < message->n_saved; i++) {
    const Doppel__Wire__ReplicaJournalStep__Saved *piece = message->saved[i];
    ReplicaSaved saved = {.offset = piece->offset, .length = piece->length, .at = piece->at};
    g_array_append_val(step->saved, saved);
  }
  doppel__wire__replica_journal_step__free_unpacked(message, NULL);
  return good ? g_steal_pointer(&step) : NULL;
}

static gboolean
load_steps(ReplicaJournal *journal)
{
  for (;;) {
    guint32 length;
    if (io_read_all(journal->fd, &length, sizeof length) != sizeof length || length > STEP_MAX)
      return journal->steps->len >= journal->begun;
    g_autofree guint8 *data = g_malloc(MAX(length, 1));
    if (io_read_all(journal->fd, data, length) != length)
      return journal->steps->len >= journal->begun;
    ReplicaStep *step = unpack_step(data, length);
    if (!step)
      return FALSE;
    g_ptr_array_add(journal->steps, step);
  }
}

static gboolean
recover_one(int root, ReplicaJournal *journal, GError **error)
{
  Head head;
  journal->fd = open_part(journal, SUFFIX, 0);
  if (journal->fd < 0 || flock(journal->fd, LOCK_EX | LOCK_NB) < 0)
    return errno == EWOULDBLOCK || errno == ENOENT ||
           doppel_error_errno(error, "cannot open the journal %s" SUFFIX, journal->name);
  gssize got = io_read_all(journal->fd, &head, sizeof head);
  if (got < (gssize)sizeof head) { /* killed before it began */
    remove_files(journal);
    return TRUE;
  }
  journal->begun = head.begun;
  journal->undo = open_part(journal, ".undo", 0);
  if (memcmp(head.magic, magic, sizeof magic) != 0 || !load_steps(journal))
    return doppel_error_set(
        error, DOPPEL_ERROR_FAILED,
        "the journal %s" SUFFIX " is damaged: the changes it tells of can be neither "
        "completed nor undone; remove it once you have looked for directories named .doppel-%s",
        journal->name, journal->name);
  return head.phase == COMMITTED ? sweep(journal, root, error) : replica_journal_undo(journal, root, error);
}

gboolean
replica_recover(int root, int state, GError **error)
{
  Fd fd = openat(state, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing) {
    io_close(&fd);
    return doppel_error_errno(error, "cannot list the directory of journals");
  }
  gboolean good = TRUE;
  for (struct dirent *entry; (entry = readdir(listing));) {
    if (!g_str_has_suffix(entry->d_name, SUFFIX))
      continue;
    g_autofree char *name = g_strndup(entry->d_name, strlen(entry->d_name) - strlen(SUFFIX));
    g_autoptr(ReplicaJournal) journal = journal_alloc(state, name);
    if (!recover_one(root, journal, good ? error : NULL))
      good = FALSE;
  }
  closedir(listing);
  return good;
}
