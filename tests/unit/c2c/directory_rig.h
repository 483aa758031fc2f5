/* A directory in this process, in a thread of its own, and users for it. */
#pragma once

#include "../identity/record_world.h"
#include "c2c/directory_client.h"
#include "c2c/directory_server.h"

typedef struct {
  IdentityKey *key;
  char *folder, *store;
  int port; /* of `place`, which nobody else gets while the server is stopped */
  DirectoryPlace place;
  DirectoryServer *server;
  GMainContext *context;
  GMainLoop *loop;
  GThread *thread;
  DirectoryServerOptions options;
} Rig;

/* `number` gives its key. In a new folder. */
Rig *rig_new(guint number);
void rig_start(Rig *rig);
void rig_stop(Rig *rig);
void rig_free(Rig *rig);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Rig, rig_free)

/* In the server's thread. */
void rig_invoke(Rig *rig, void (*function)(gpointer data), gpointer data);

/* A client that knows these directories (NULL-terminated), with a new cache. It is patient: a test that wants
 * it to give up says so. */
DirectoryClient *rig_client(const IdentityKey *own, Rig *first, ...) G_GNUC_NULL_TERMINATED;

/* A user whose home is the rig's directory. */
WorldUser *rig_user(Rig *rig, guint number, const char *name);
Record *rig_record(const WorldUser *user, guint64 serial, guint64 sequence);
void rig_register(DirectoryClient *client, const Record *record, guint64 number);

/* Is expected to be refused so. */
void rig_refused(DirectoryClient *client, const Record *record, DirectoryStatus status);
