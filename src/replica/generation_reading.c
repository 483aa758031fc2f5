/* The contents of generation_steps.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

#include "replica/generation_steps_private.h"

#define TRIES     3           /* of a file that changes while it is read */
#define AGAIN_MAX (64u << 20) /* bytes: what is larger is not read again for that */
#define PART_MIN  (1u << 20)  /* bytes: what is smaller begins anew after a cut */
#define WHOLE_MAX (64u << 10) /* bytes of literals, and of attributes, that go in one step with all else */

/* The paths may be an OPEN's, too, and stay as they are. */
static void
drop_sources(GenerationReading *reading)
{
  for (guint i = 0; i < reading->sources->len; i++)
    g_clear_pointer(&reading->signatures[i], signature_free);
  g_clear_pointer(&reading->sources, g_ptr_array_unref);
}

void
generation_reading_free(GenerationReading *reading)
{
  if (!reading)
    return;
  drop_sources(reading);
  g_clear_pointer(&reading->held, generation_step_free);
  replica_facts_clear(&reading->facts);
  io_close(&reading->fd);
  g_free(reading->path);
  g_free(reading);
}

/* Reading is not to be seen in the file's times, where that is permitted. */
static int
open_content(GenerationSteps *steps, const char *path)
{
  const char *name;
  int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  int directory = tree_near_parent(&steps->near, path, &name);
  int fd = directory < 0 ? -1 : openat(directory, name, flags | O_NOATIME);
  return fd < 0 && errno == EPERM ? openat(directory, name, flags) : fd;
}

static gboolean
is_still(const ReplicaFacts *facts, int fd)
{
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (guint64)status.st_size == facts->size &&
         status.st_ino == facts->ino && status.st_dev == facts->dev &&
         status.st_ctim.tv_sec * 1000000000LL + status.st_ctim.tv_nsec == facts->ctime_ns &&
         status.st_mtim.tv_sec * 1000000000LL + status.st_mtim.tv_nsec == facts->mtime_ns;
}

/* Fills in the facts of what is open. Attributes, which few files have, are read by name. 0, or an errno. */
static int
read_facts(GenerationSteps *steps, GenerationReading *reading)
{
  struct stat status;
  if (fstat(reading->fd, &status) < 0)
    return errno;
  if (!S_ISREG(status.st_mode))
    return ENOENT;
  if (flistxattr(reading->fd, NULL, 0) <= 0) {
    replica_facts_from_stat(&reading->facts, &status);
    return 0;
  }
  int failure = tree_near_facts(&steps->near, reading->path, &reading->facts);
  return failure || is_still(&reading->facts, reading->fd) ? failure : EAGAIN;
}

/* Opens the file, with facts that are those of what is open. 0, or an errno. */
static int
look(GenerationSteps *steps, GenerationReading *reading)
{
  for (guint tries = 0; tries < TRIES; tries++) {
    replica_facts_clear(&reading->facts);
    io_close(&reading->fd);
    reading->read_ns = replica_now_ns();
    reading->fd = open_content(steps, reading->path);
    if (reading->fd < 0)
      return errno == ELOOP || errno == ENXIO ? ENOENT : errno;
    int failure = read_facts(steps, reading);
    if (failure != EAGAIN)
      return failure;
  }
  return EBUSY;
}

gboolean
generation_reading_dirty(GenerationReading *reading)
{
  reading->changed = reading->changed || !is_still(&reading->facts, reading->fd);
  return reading->changed || replica_facts_racy(&reading->facts, reading->read_ns);
}

static void
add_source(GenerationSteps *steps, GenerationReading *reading, gint64 id)
{
  g_auto(TreeNode) node = {0};
  g_autofree char *path = tree_index_path(steps->index, id);
  Signature *signature = path && tree_index_node(steps->index, id, &node) && node.hashed
                             ? tree_index_signature(steps->index, id, node.content)
                             : NULL;
  if (!signature)
    return;
  reading->signatures[reading->sources->len] = signature;
  g_ptr_array_add(reading->sources, g_steal_pointer(&path));
}

/* A hash of what the content will be made from: paths and contents. */
static void
hash_sources(GenerationReading *reading)
{
  g_autoptr(GByteArray) all = g_byte_array_new();
  for (guint i = 0; i < reading->sources->len; i++) {
    const char *path = reading->sources->pdata[i];
    g_byte_array_append(all, (const guint8 *)path, strlen(path) + 1);
    g_byte_array_append(all, reading->signatures[i]->hash, GENERATION_CONTENT_HASH);
  }
  XXH128_canonicalFromHash((XXH128_canonical_t *)reading->sources_hash, XXH3_128bits(all->data, all->len));
}

static void
begin_search(GenerationSteps *steps, GenerationReading *reading)
{
  const Signature *const *sources = (const Signature *const *)reading->signatures;
  reading->position = 0;
  if (reading->hashed)
    signature_search_begin_hashed(steps->search, reading->fd, reading->facts.size, sources,
                                  reading->sources->len);
  else
    signature_search_begin(steps->search, reading->fd, reading->facts.size, sources, reading->sources->len);
  reading->hashed = FALSE;
}

/* Large contents can go on after a cut. */
static void
put_part(GenerationSteps *steps, const GenerationReading *reading, guint64 number)
{
  if (reading->facts.size < PART_MIN)
    return;
  TreePart part = {.path = reading->path,
                   .number = number,
                   .position = reading->position,
                   .dev = reading->facts.dev,
                   .ino = reading->facts.ino,
                   .size = reading->facts.size,
                   .mtime_ns = reading->facts.mtime_ns,
                   .ctime_ns = reading->facts.ctime_ns};
  memcpy(part.sources, reading->sources_hash, sizeof part.sources);
  tree_index_put_part(steps->index, &part);
}

static GenerationStep *
open_step(GenerationKind kind, const GenerationReading *reading)
{
  GenerationStep *step = generation_steps_at(kind, reading->path);
  replica_facts_copy(&step->facts, &reading->facts);
  step->sources = g_ptr_array_ref(reading->sources);
  return step;
}

static void
emit_open(GenerationSteps *steps, GenerationReading *reading)
{
  reading->opened = TRUE;
  put_part(steps, reading, generation_steps_emit(steps, open_step(GENERATION_OPEN, reading)));
}

/* Completes the content by a step of the kind CLOSE or WHOLE. */
static gint64
emit_end(GenerationSteps *steps, const GenerationReading *reading, GenerationStep *step, const guint8 *hash,
         gboolean dirty)
{
  memcpy(step->hash, hash, sizeof step->hash);
  guint64 number = generation_steps_emit(steps, step);
  return generation_steps_close(steps, number, reading->node, reading->path, &reading->facts, hash, dirty);
}

/* An index that was rebuilt from the clone's manifest knows contents, but has no sums of them. */
static void
sign_anew(GenerationSteps *steps, const GenerationReading *reading, const TreeNode *told)
{
  g_autoptr(Signature) known = tree_index_signature(steps->index, told->id, told->content);
  if (known || reading->facts.size <= SIGNATURE_SIZE_MIN)
    return;
  signature_search_begin(steps->search, reading->fd, reading->facts.size, NULL, 0);
  for (GenerationStep *step; (step = signature_search_next(steps->search, NULL));)
    generation_step_free(step);
  g_autoptr(Signature) signature = signature_search_end(steps->search);
  if (signature && memcmp(signature->hash, told->content, sizeof signature->hash) == 0)
    tree_index_sign(steps->index, told->id, signature);
}

gboolean
generation_reading_hash(GenerationSteps *steps, GenerationReading *reading,
                        guint8 hash[static GENERATION_CONTENT_HASH])
{
  if (!reading->hash_known)
    reading->hash_known = reading->hashed =
        signature_search_hash(steps->search, reading->fd, reading->facts.size, reading->hash);
  memcpy(hash, reading->hash, sizeof reading->hash);
  return reading->hash_known;
}

/* Where a hash says that the content is as it was told. Otherwise it may say where the clone has the like: it
 * is searched there like any other, since a hash without a secret could have been made to agree. FALSE: the
 * content is to be searched. */
static gboolean
tell_known(GenerationSteps *steps, GenerationReading *reading, const TreeNode *told, gboolean *rewritten)
{
  guint8 hash[GENERATION_CONTENT_HASH];
  guint64 size = reading->facts.size;
  gboolean may_be_told = told->hashed && told->facts.size == size;
  gboolean may_be_elsewhere =
      !may_be_told && size >= TREE_CONTENT_MIN && tree_index_has_size(steps->index, size);
  if (!may_be_told && !may_be_elsewhere)
    return FALSE;
  if (!generation_reading_hash(steps, reading, hash))
    return FALSE;
  if (may_be_told && memcmp(hash, told->content, sizeof hash) == 0) {
    sign_anew(steps, reading, told);
    reading->hashed = FALSE;
    if (generation_steps_parted(told, &reading->facts))
      return FALSE; /* an inode of its own, made from what is there */
    *rewritten =
        generation_steps_tell(steps, reading->path, told, &reading->facts, generation_reading_dirty(reading));
    return TRUE;
  }
  if (may_be_elsewhere)
    reading->like = tree_index_content(steps->index, size, hash);
  return FALSE;
}

static GenerationReading *
reading_new(const char *path)
{
  GenerationReading *reading = g_new0(GenerationReading, 1);
  reading->path = g_strdup(path);
  reading->fd = -1;
  reading->sources = g_ptr_array_new_with_free_func(g_free);
  return reading;
}

static void
choose_sources(GenerationSteps *steps, GenerationReading *reading, const TreeNode *told)
{
  gint64 self = told->facts.type == REPLICA_FILE ? told->id : TREE_NONE;
  const gint64 nodes[] = {reading->like, self, reading->basis};
  for (guint i = 0; i < G_N_ELEMENTS(nodes); i++)
    if (nodes[i] != TREE_NONE && (i == 0 || nodes[i] != nodes[i - 1]))
      add_source(steps, reading, nodes[i]);
  if (reading->facts.size >= PART_MIN)
    hash_sources(reading);
}

int
generation_reading_open(GenerationSteps *steps, const char *path, GenerationReading **opened)
{
  g_autoptr(GenerationReading) reading = reading_new(path);
  int failure = look(steps, reading);
  *opened = failure ? NULL : g_steal_pointer(&reading);
  return failure;
}

static void
begin(GenerationSteps *steps, GenerationReading *reading)
{
  begin_search(steps, reading);
  steps->reading = reading;
}

/* Whether one pass can find out that the content is as it was told, and what is new of it otherwise. Not
 * where it must be known beforehand, for the other names of the inode, or to be found in the public base. */
static gboolean
finds_itself(GenerationSteps *steps, const GenerationReading *reading, const TreeNode *told)
{
  if (steps->public || !told->hashed || told->facts.size != reading->facts.size || told->facts.nlink > 1 ||
      reading->facts.nlink > 1)
    return FALSE;
  g_autoptr(Signature) signature = tree_index_signature(steps->index, told->id, told->content);
  return signature != NULL;
}

gboolean
generation_reading_tell(GenerationSteps *steps, GenerationReading *reading, const TreeNode *told)
{
  gboolean rewritten = TRUE;
  reading->node = told->id;
  reading->may_be_told = finds_itself(steps, reading, told);
  if (!reading->may_be_told && tell_known(steps, reading, told, &rewritten)) {
    steps->progress.bytes_done += reading->facts.size;
    generation_reading_free(reading);
    return rewritten;
  }
  if (!reading->may_be_told && generation_public_tell(steps, reading)) {
    steps->progress.bytes_done += reading->facts.size;
    generation_reading_free(reading);
    return TRUE;
  }
  choose_sources(steps, reading, told);
  begin(steps, reading);
  return TRUE;
}

gboolean
generation_reading_tell_whole(GenerationSteps *steps, const char *path)
{
  GenerationReading *reading;
  g_auto(TreeNode) told = {0};
  int failure = generation_reading_open(steps, path, &reading);
  if (failure) {
    generation_steps_leave(steps, path, failure);
    return FALSE;
  }
  generation_steps_told(steps, path, &told);
  reading->node = told.id;
  begin(steps, reading);
  return TRUE;
}

/* Whether it is to be made from what it was to be made from before a cut. What else the clone has of this
 * very content, only its hash tells. */
static gboolean
has_sources_of(GenerationSteps *steps, GenerationReading *reading, const TreeNode *told, const TreePart *part)
{
  guint8 hash[GENERATION_CONTENT_HASH];
  guint64 size = reading->facts.size;
  choose_sources(steps, reading, told);
  if (memcmp(reading->sources_hash, part->sources, sizeof part->sources) == 0)
    return TRUE;
  if (!tree_index_has_size(steps->index, size) ||
      !signature_search_hash(steps->search, reading->fd, size, hash))
    return FALSE;
  drop_sources(reading);
  reading->sources = g_ptr_array_new_with_free_func(g_free);
  reading->like = tree_index_content(steps->index, size, hash);
  choose_sources(steps, reading, told);
  return memcmp(reading->sources_hash, part->sources, sizeof part->sources) == 0;
}

gboolean
generation_reading_continue(GenerationSteps *steps, const TreePart *part, gint64 basis)
{
  g_autoptr(GenerationReading) reading = reading_new(part->path);
  g_auto(TreeNode) told = {0};
  const ReplicaFacts *facts = &reading->facts;
  if (look(steps, reading) != 0 || facts->dev != part->dev || facts->ino != part->ino ||
      facts->size != part->size || facts->mtime_ns != part->mtime_ns || facts->ctime_ns != part->ctime_ns)
    return FALSE;
  generation_steps_told(steps, part->path, &told);
  reading->node = told.id;
  reading->basis = basis;
  if (!has_sources_of(steps, reading, &told, part))
    return FALSE;
  begin_search(steps, reading);
  reading->opened = TRUE;
  reading->skip_to = part->position;
  steps->reading = g_steal_pointer(&reading);
  return TRUE;
}

static guint64
length_of(const GenerationStep *step, guint64 *literals)
{
  guint64 length = 0;
  for (guint i = 0; i < step->segments->len; i++) {
    const GenerationSegment *segment = &g_array_index(step->segments, GenerationSegment, i);
    length += segment->length;
    *literals += segment->kind == GENERATION_LITERAL ? segment->length : 0;
  }
  return length;
}

/* Takes the first `length` bytes off, which are not all. */
static void
cut_front(GenerationStep *step, guint64 length)
{
  guint gone = 0;
  GenerationSegment *segment = &g_array_index(step->segments, GenerationSegment, 0);
  for (; segment[gone].length <= length; gone++)
    length -= segment[gone].length;
  segment[gone].length -= length;
  segment[gone].offset += segment[gone].kind == GENERATION_COPY ? length : 0;
  segment[gone].bytes += segment[gone].kind == GENERATION_LITERAL ? length : 0;
  if (gone)
    g_array_remove_range(step->segments, 0, gone);
}

/* What was told before a cut was in pieces of the rate of that time. */
static void
emit_segments(GenerationSteps *steps, GenerationReading *reading, GenerationStep *step)
{
  guint64 literals = 0, begin = reading->position;
  reading->position += length_of(step, &literals);
  if (reading->position <= reading->skip_to) {
    generation_step_free(step);
    return;
  }
  if (begin < reading->skip_to) {
    literals = 0;
    cut_front(step, reading->skip_to - begin);
    length_of(step, &literals);
  }
  steps->progress.literals += literals;
  put_part(steps, reading, generation_steps_emit(steps, step));
}

/* It is not what was told, and more than goes in one step: what was held back of it goes first. */
static void
open_late(GenerationSteps *steps, GenerationReading *reading)
{
  if (reading->opened)
    return;
  emit_open(steps, reading);
  if (reading->held)
    emit_segments(steps, reading, g_steal_pointer(&reading->held));
}

/* It changed while it was read: once more, from the beginning; and at last as it is. */
static gboolean
try_again(GenerationSteps *steps, GenerationReading *reading)
{
  if (is_still(&reading->facts, reading->fd) || reading->facts.size > AGAIN_MAX || ++reading->tries >= TRIES)
    return FALSE;
  if (look(steps, reading) != 0)
    return FALSE;
  reading->skip_to = 0;
  g_clear_pointer(&reading->held, generation_step_free);
  begin_search(steps, reading);
  if (reading->opened)
    emit_open(steps, reading);
  return TRUE;
}

/* All of a content that was held back, as one step, if it may be one. */
static GenerationStep *
whole_step(GenerationSteps *steps, GenerationReading *reading, guint64 literals)
{
  const ReplicaFacts *facts = &reading->facts;
  if (reading->opened || literals > WHOLE_MAX ||
      (facts->xattrs && g_bytes_get_size(facts->xattrs) > WHOLE_MAX))
    return NULL;
  GenerationStep *step = open_step(GENERATION_WHOLE, reading);
  if (reading->held) {
    step->segments = g_steal_pointer(&reading->held->segments);
    step->data = g_steal_pointer(&reading->held->data);
  }
  steps->progress.literals += literals;
  return step;
}

/* The content was read to its end, and has this signature. */
static void
complete(GenerationSteps *steps, GenerationReading *reading, const Signature *signature)
{
  g_auto(TreeNode) told = {0};
  guint64 literals = 0;
  gboolean dirty = reading->changed || replica_facts_racy(&reading->facts, reading->read_ns);
  if (reading->held)
    length_of(reading->held, &literals);
  if (reading->may_be_told && !reading->opened && !literals &&
      memcmp(signature->hash, reading->signatures[0]->hash, sizeof signature->hash) == 0 &&
      generation_steps_told(steps, reading->path, &told)) {
    generation_steps_tell(steps, reading->path, &told, &reading->facts, dirty);
    return;
  }
  GenerationStep *step = whole_step(steps, reading, literals);
  if (!step) {
    open_late(steps, reading);
    step = generation_step_new(GENERATION_CLOSE);
  }
  gint64 id = emit_end(steps, reading, step, signature->hash, dirty);
  tree_index_sign(steps->index, id, signature);
}

static void
end(GenerationSteps *steps)
{
  GenerationReading *reading = steps->reading;
  if (try_again(steps, reading))
    return;
  g_autoptr(Signature) signature = reading->fd >= 0 ? signature_search_end(steps->search) : NULL;
  if (signature)
    complete(steps, reading, signature);
  else
    generation_steps_leave(steps, reading->path, ENOENT);
  steps->progress.bytes_done += reading->facts.size;
  g_clear_pointer(&steps->reading, generation_reading_free);
}

static void
give_up(GenerationSteps *steps, int failure)
{
  generation_steps_leave(steps, steps->reading->path, failure);
  g_clear_pointer(&steps->reading, generation_reading_free);
}

void
generation_reading_more(GenerationSteps *steps)
{
  GenerationReading *reading = steps->reading;
  g_autoptr(GError) error = NULL;
  GenerationStep *step = signature_search_next(steps->search, &error);
  if (error) {
    give_up(steps, EIO);
  } else if (!step) {
    end(steps);
  } else if (!reading->opened && !reading->held) {
    reading->held = step;
  } else {
    open_late(steps, reading);
    emit_segments(steps, reading, step);
  }
}
