/* A device for tests: a child process that executes what it is sent, in its own memory, as a primary would.
 */
#pragma once

#include "mirror/pincall.h"

#define DEVICE_PIN_BASE 100 /* descriptors that existed at the start: their number plus this */

typedef struct {
  int socket;
  pid_t pid;
  GHashTable *placeholders; /* descriptor here to pin, of pins that calls have made */
} Device;

/* Forks; all descriptors that are open now are pins of the device. */
Device *device_start(void);
void device_stop(Device *device);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Device, device_stop)

/* This process's own memory, by way of the kernel: bad addresses fail and do not kill. */
MirrorMemoryOps device_own_memory(void);

gint64 device_pin_of_fd(void *device, int fd);
int device_fd_of_pin(void *device, guint32 pin);

/* Makes a call on the device; its results are in this process's memory afterwards. What the call returned, or
 * -errno; G_MININT64 with an error for what cannot be forwarded or was refused. */
gint64 device_call(Device *device, const char *name, const guint64 args[SYSCALL_ARGS], GError **error);

/* The same of a call that must go through. */
#define CALL(device, name, ...) device_must_call(device, name, (const guint64[SYSCALL_ARGS]){__VA_ARGS__})
gint64 device_must_call(Device *device, const char *name, const guint64 args[SYSCALL_ARGS]);

#define P(pointer) ((guint64)(guintptr)(pointer))
