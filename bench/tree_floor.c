/* The least that a first synchronisation can cost a device: what anything that brings a tree elsewhere has to
 * do, and nothing that makes it right, resumable or cheap the next time.
 *
 *     tree_floor ROOT
 *
 * Each stage is a process of its own and does all that those before it do:
 *   look      reads directories, and the facts of each entry
 *   open      opens each file, asks for its facts and attributes, closes it
 *   read      reads it, one call for each small one
 *   hash      XXH3-128 of each content
 *   compress  facts, path and content in messages of 64 KiB, by zstd as a link compresses
 *   send      over TLS, as a link does, to a process that throws it away
 * Prints JSON: user and system seconds of each. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

#include "bare_tls.h"
#include "base/io.h"
#include "wire/compress.h"

#define MESSAGE (64u << 10) /* bytes */
#define WINDOW  (256u << 10)

typedef enum { LOOK, OPEN, READ, HASH, COMPRESS, SEND, STAGES } Stage;
static const char *const names[STAGES] = {"look", "open", "read", "hash", "compress", "send"};

typedef struct {
  Stage stage;
  guint8 window[WINDOW];
  guint8 message[MESSAGE];
  gsize filled;
  XXH3_state_t *hasher;
  WirePacker *packer;
  guint8 *packed;
  gnutls_session_t session;
  guint64 files, bytes, sent;
} Floor;

static void
flush(Floor *floor)
{
  struct iovec piece = {floor->message, floor->filled};
  gsize length = wire_packer_pack(floor->packer, &piece, 1, floor->packed);
  floor->filled = 0;
  floor->sent += length;
  for (gsize part; floor->stage >= SEND && length > 0; length -= part) {
    part = MIN(length, BARE_TLS_LARGEST);
    bare_tls_send(floor->session, part);
  }
}

static void
add(Floor *floor, const void *data, gsize length)
{
  while (length > 0) {
    gsize part = MIN(length, MESSAGE - floor->filled);
    memcpy(floor->message + floor->filled, data, part);
    floor->filled += part;
    data = (const guint8 *)data + part;
    length -= part;
    if (floor->filled == MESSAGE)
      flush(floor);
  }
}

/* What is told of an entry: about as much as a step has. */
static void
add_facts(Floor *floor, const char *name, const struct stat *status)
{
  const guint64 facts[] = {status->st_mode, status->st_uid, status->st_gid, status->st_size,
                           status->st_mtim.tv_sec * 1000000000LL + status->st_mtim.tv_nsec};
  add(floor, facts, sizeof facts);
  add(floor, name, strlen(name) + 1);
}

static void
read_content(Floor *floor, int fd, guint64 size)
{
  XXH3_128bits_reset(floor->hasher);
  for (guint64 at = 0; at < size;) {
    ssize_t got = pread(fd, floor->window, MIN(WINDOW, size - at), at);
    if (got <= 0)
      break;
    if (floor->stage >= HASH)
      XXH3_128bits_update(floor->hasher, floor->window, got);
    if (floor->stage >= COMPRESS)
      add(floor, floor->window, got);
    at += got;
    floor->bytes += got;
  }
  XXH128_hash_t hash = XXH3_128bits_digest(floor->hasher);
  if (floor->stage >= COMPRESS)
    add(floor, &hash, sizeof hash);
}

static void
take_file(Floor *floor, int directory, const char *name)
{
  struct stat status;
  g_auto(Fd) fd =
      openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | O_NOATIME);
  if (fd < 0 || fstat(fd, &status) < 0)
    return;
  flistxattr(fd, NULL, 0);
  if (floor->stage >= COMPRESS)
    add_facts(floor, name, &status);
  if (floor->stage >= READ)
    read_content(floor, fd, status.st_size);
}

static void
walk(Floor *floor, int fd)
{
  DIR *stream = fdopendir(fd);
  for (const struct dirent *entry; stream && (entry = readdir(stream));) {
    struct stat status;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
      continue;
    floor->files++;
    if (S_ISDIR(status.st_mode))
      walk(floor, openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    else if (S_ISREG(status.st_mode) && floor->stage >= OPEN)
      take_file(floor, fd, entry->d_name);
  }
  if (stream)
    closedir(stream);
}

/* Who throws away what comes. */
static gnutls_session_t
open_session(IdentityKey *const keys[2])
{
  struct sockaddr_in address;
  int listener = bare_tls_listen(&address);
  if (fork() == 0) {
    LinkTls *tls = link_tls_new(keys[1], identity_key_public(keys[0]), NULL);
    gnutls_session_t session = bare_tls_open(tls, accept(listener, NULL, NULL), TRUE);
    for (;;)
      bare_tls_receive(session, 4096);
  }
  LinkTls *tls = link_tls_new(keys[0], identity_key_public(keys[1]), NULL);
  return bare_tls_open(tls, bare_tls_connect(&address), FALSE);
}

static double
seconds(struct timeval time)
{
  return time.tv_sec + time.tv_usec / 1e6;
}

/* In a process of its own, which prints what it cost. */
static void
run(Stage stage, const char *root, IdentityKey *const keys[2])
{
  static Floor floor;
  struct rusage before, after;
  floor.stage = stage;
  floor.hasher = XXH3_createState();
  floor.packer = wire_packer_new();
  floor.packed = g_malloc(wire_packed_bound(MESSAGE));
  if (stage >= SEND)
    floor.session = open_session(keys);
  getrusage(RUSAGE_SELF, &before);
  walk(&floor, open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (stage >= COMPRESS)
    flush(&floor);
  getrusage(RUSAGE_SELF, &after);
  printf("%s\"%s\": {\"user_s\": %.4f, \"system_s\": %.4f, \"entries\": %" G_GUINT64_FORMAT
         ", \"bytes\": %" G_GUINT64_FORMAT ", \"sent\": %" G_GUINT64_FORMAT "}",
         stage == LOOK ? "{" : ",\n ", names[stage], seconds(after.ru_utime) - seconds(before.ru_utime),
         seconds(after.ru_stime) - seconds(before.ru_stime), floor.files, floor.bytes, floor.sent);
  fflush(stdout);
}

int
main(int argc, char **argv)
{
  if (argc != 2) {
    fprintf(stderr, "usage: tree_floor ROOT\n");
    return 2;
  }
  IdentityKey *keys[2] = {identity_key_generate(), identity_key_generate()};
  for (Stage stage = LOOK; stage < STAGES; stage++) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      run(stage, argv[1], keys);
      _exit(0);
    }
    if (child < 0 || waitpid(child, NULL, 0) != child)
      return 1;
  }
  printf("}\n");
  return 0;
}
