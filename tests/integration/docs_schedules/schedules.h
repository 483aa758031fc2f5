/* What the processes of docs-schedules share: the test itself, the links, and a device each. */
#pragma once

#include <sys/types.h>

#include "clonedoc/envelope.h"

enum {
  USERS = 16,
  KEYS_MAX = 1024,                     /* that one device types in a schedule */
  TEXT_MAX = USERS * KEYS_MAX * 4 + 1, /* bytes of a text of them */
  WORDS_MAX = 400,
};

typedef enum { KEY_NONE, KEY_MEANT, KEY_KEPT } KeyState;

/* A device's part of the memory that all share: only it writes there, and it may be killed at any time. What
 * it is about to do it says before, and that it is on its disk after. */
typedef struct {
  guint typed;             /* keys that were ever meant */
  guint8 keys[KEYS_MAX];   /* KeyState */
  guint deleted, deleting; /* of the list below: are gone; are about to be, behind these */
  gunichar gone[4 * KEYS_MAX];
  gboolean settled, current; /* as of `round` */
  guint round;               /* grows with each look that it takes */
  gsize bytes;
  char text[TEXT_MAX];
  char failed[WORDS_MAX];
  char trouble[WORDS_MAX];
} DeviceShare;

typedef struct {
  volatile gint live;  /* devices type */
  volatile gint chaos; /* links fail */
  guint32 seed;
  DeviceShare devices[USERS];
  struct {
    guint cuts, stalls, late, held;
  } links;
} Shared;

/* Each key that anybody types is another character. */
static inline gunichar
key_letter(guint user, guint key)
{
  return 0x10000 + user * KEYS_MAX + key;
}

/* A loopback port for who asks for it, by SO_REUSEADDR: nobody is given it by chance as long as this process
 * lives. */
int free_port(void);

/* ---- links.c: a process of its own, which carries all bytes between the others, and loses them ---- */

enum { LINKS_MAX = USERS + 2 };
typedef struct {
  int port[LINKS_MAX], to[LINKS_MAX]; /* on loopback */
  guint count;
  int devices; /* SOCK_SEQPACKET: pairs of sockets to be joined, as links_join() sends them */
} LinksConfig;
void links_run(const LinksConfig *config, Shared *shared) G_GNUC_NORETURN;

/* What leads to `to` (taken), with a link that fails between: the caller's. -1. `devices` is the other end of
 * the config's. */
int links_join(int devices, guint32 number, int to);

/* ---- device.c ---- */

typedef struct {
  guint user;
  guint32 seed;
  const char *folder; /* of its copies */
  const char *clone;  /* its clone's socket */
  const DocName *document;
  int links;
} DeviceConfig;
void device_run(const DeviceConfig *config, Shared *shared) G_GNUC_NORETURN;
