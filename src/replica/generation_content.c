#include "replica/generation_content.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_copy.h"
#include "replica/path.h"

struct GenerationContent {
  Fd file;
  char *path;
  ReplicaFacts facts;
  guint64 written; /* bytes, holes too */
  gboolean wrong;
  XXH3_state_t *hash;
  guint source_count;
  int sources[GENERATION_SOURCES_MAX];
};

void
generation_content_free(GenerationContent *content)
{
  if (!content)
    return;
  io_close(&content->file);
  for (guint i = 0; i < content->source_count; i++)
    io_close(&content->sources[i]);
  XXH3_freeState(content->hash);
  replica_facts_clear(&content->facts);
  g_free(content->path);
  g_free(content);
}

static gboolean
add_source(GenerationContent *content, const GenerationStack *tree, const char *top, const char *path,
           GError **error)
{
  g_autofree char *whole = replica_path_join(top, path);
  g_auto(GenerationDirectory) directory = {0};
  GenerationEntry entry;
  const char *name;
  int failure = generation_stack_find(tree, whole, &directory, &name, &entry);
  if (failure == ENOENT || failure == ENOTDIR || (!failure && !S_ISREG(entry.status.st_mode)))
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "the clone has no file %s to build %s from", path,
                            content->path);
  errno = failure;
  int fd = failure ? -1 : openat(entry.fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    return doppel_error_errno(error, "cannot read %s in the clone", path);
  content->sources[content->source_count++] = fd;
  return TRUE;
}

GenerationContent *
generation_content_new(int directory, const char *name, const GenerationStep *step,
                       const GenerationStack *tree, const char *top, GError **error)
{
  g_autoptr(GenerationContent) content = g_new0(GenerationContent, 1);
  content->path = g_strdup(step->path);
  content->hash = XXH3_createState();
  XXH3_128bits_reset(content->hash);
  replica_facts_copy(&content->facts, &step->facts);
  unlinkat(directory, name, 0);
  content->file = openat(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (content->file < 0 || ftruncate(content->file, step->facts.size) < 0) {
    doppel_error_errno(error, "cannot make %s (%" G_GUINT64_FORMAT " bytes) in the clone", step->path,
                       step->facts.size);
    return NULL;
  }
  for (guint i = 0; step->sources && i < step->sources->len; i++)
    if (!add_source(content, tree, top, step->sources->pdata[i], error))
      return NULL;
  return g_steal_pointer(&content);
}

static void
hash_piece(const guint8 *bytes, guint64 length, gpointer user_data)
{
  static const guint8 zeros[64 << 10];
  GenerationContent *content = user_data;
  if (bytes)
    XXH3_128bits_update(content->hash, bytes, length);
  for (; !bytes && length > 0; length -= MIN(length, sizeof zeros))
    XXH3_128bits_update(content->hash, zeros, MIN(length, sizeof zeros));
}

static int
add_copy(GenerationContent *content, const GenerationSegment *segment)
{
  int failure = ENODATA;
  if (segment->source < content->source_count)
    failure = generation_copy_range(content->sources[segment->source], segment->offset, content->file,
                                    content->written, segment->length, hash_piece, content);
  if (failure == ENODATA) {
    content->wrong = TRUE;
    failure = 0;
  }
  return failure;
}

static int
add_literal(GenerationContent *content, const GenerationSegment *segment)
{
  hash_piece(segment->bytes, segment->length, content);
  for (guint64 done = 0; done < segment->length;) {
    ssize_t put =
        pwrite(content->file, segment->bytes + done, segment->length - done, content->written + done);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return errno;
    done += put;
  }
  return 0;
}

static int
add_segment(GenerationContent *content, const GenerationSegment *segment)
{
  if (content->wrong) /* whatever follows, it stays wrong */
    return 0;
  switch (segment->kind) {
  case GENERATION_LITERAL:
    return add_literal(content, segment);
  case GENERATION_COPY:
    return add_copy(content, segment);
  case GENERATION_ZEROS:
    hash_piece(NULL, segment->length, content);
    return 0;
  }
  return EINVAL;
}

gboolean
generation_content_add(GenerationContent *content, const GenerationStep *step, GError **error)
{
  for (guint i = 0; i < step->segments->len; i++) {
    const GenerationSegment *segment = &g_array_index(step->segments, GenerationSegment, i);
    if (segment->length > content->facts.size - content->written)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device sent more of %s than there is of it",
                              content->path);
    errno = add_segment(content, segment);
    if (errno)
      return doppel_error_errno(error, "cannot write %s in the clone", content->path);
    content->written += segment->length;
  }
  return TRUE;
}

gboolean
generation_content_right(GenerationContent *content, const guint8 hash[static GENERATION_CONTENT_HASH])
{
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(content->hash));
  G_STATIC_ASSERT(sizeof canonical == GENERATION_CONTENT_HASH);
  return !content->wrong && content->written == content->facts.size &&
         memcmp(&canonical, hash, sizeof canonical) == 0;
}

const char *
generation_content_path(const GenerationContent *content)
{
  return content->path;
}

const ReplicaFacts *
generation_content_facts(const GenerationContent *content)
{
  return &content->facts;
}
