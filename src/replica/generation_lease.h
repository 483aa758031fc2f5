/* A reader's hold on a generation: while it lasts, the layers of it stay where they are, whatever is
 * synchronised, merged or given up meanwhile.
 *
 * It is a set of shared locks on bytes of the store's empty file `leases` (fcntl(2), F_OFD_SETLK): one for
 * the generation's number, one for each layer's. So it needs no room on a disk that may be full, and a reader
 * that is killed lets go by that. The locks go along with the descriptor through fork(). */
#pragma once

#include <glib.h>

#include "replica/generation_stack.h"

typedef struct {
  int file;       /* has the locks */
  int layers;     /* the store's directory of them */
  guint64 number; /* of the generation */
  GArray *stack;  /* of guint64, top first */
} GenerationLease;

/* Takes a lease of the generation (0: the newest) of the store whose directory is `store`. NULL with
 * NOT_FOUND where it has no such generation. */
GenerationLease *generation_lease_take(int store, guint64 number, GError **error);
void generation_lease_free(GenerationLease *lease);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationLease, generation_lease_free)

/* The layers of the generation, whose `tree` is the device's: to be looked at without a mount. NULL with an
 * error. */
GenerationStack *generation_lease_open(const GenerationLease *lease, GError **error);

/* The lock under which HEAD is read and leases are taken, or HEAD changes and layers go: held for moments
 * only. A descriptor to be closed, or -1 with an error. */
int generation_lease_lock(int store, GError **error);

/* For the store's owner, under that lock: whether somebody holds that generation, or that layer. `leases` is
 * what generation_lease_file() opened. FALSE with an error when it cannot be told. */
typedef enum { GENERATION_LEASE_NUMBER, GENERATION_LEASE_LAYER } GenerationLeaseKind;
int generation_lease_file(int store, GError **error);
gboolean generation_lease_look(int leases, GenerationLeaseKind kind, guint64 number, gboolean *held,
                               GError **error);

/* The name of a layer in `layers`, and the reverse: 0 where it is none. */
#define GENERATION_LAYER_NAME 24
void generation_layer_name(guint64 layer, char name[static GENERATION_LAYER_NAME]);
guint64 generation_layer_number(const char *name);
