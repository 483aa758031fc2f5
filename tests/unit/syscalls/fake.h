/* A process for tests that is nothing but memory and descriptors. */
#pragma once

#include "mirror/pincall.h"

#define FAKE_BASE 0x7f1234560000u
#define FAKE_SIZE (4u << 20)
#define FAKE_PIN  1000 /* descriptors 10 to 99 are pins, with this added */

typedef struct {
  guint8 *bytes; /* what lies at FAKE_BASE */
  gsize used;
  guint32 last_pin; /* that was asked for as a descriptor */
} Fake;

Fake *fake_new(void);
void fake_free(Fake *fake);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fake, fake_free)

/* Puts bytes somewhere; their address. NULL bytes: zeros. */
guint64 fake_put(Fake *fake, const void *bytes, gsize length);
void *fake_at(Fake *fake, guint64 address);

MirrorMemoryOps fake_memory(Fake *fake);
gint64 fake_pin_of_fd(void *fake, int fd); /* 5 is PIN_IGNORED */
int fake_fd_of_pin(void *fake, guint32 pin);

/* A sample call of each kind of argument. */
guint fake_samples(void);
PinCall *fake_sample(Fake *fake, guint index);
