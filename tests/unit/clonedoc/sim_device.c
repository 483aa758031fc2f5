/* A device with its editor. */
#include "base/error.h"
#include "sim_world.h"

static char *
text_of(const OtText *text)
{
  return ot_text_copy(text, 0, ot_text_length(text), NULL);
}

static void
save(SimDevice *device)
{
  g_clear_pointer(&device->disk.pair, g_bytes_unref);
  g_free(device->disk.text);
  device->disk.pair = doc_pair_save(device->pair);
  device->disk.text = text_of(device->text);
  device->disk.keys = device->keys->len;
}

void
sim_device_init(SimDevice *device)
{
  *device = (SimDevice){.pair = doc_pair_new(DOC_PAIR_DEVICE), .text = ot_text_new()};
  device->keys = g_array_new(FALSE, FALSE, sizeof(SimKey));
  save(device);
}

void
sim_device_clear(SimDevice *device)
{
  g_clear_pointer(&device->pair, doc_pair_free);
  g_clear_pointer(&device->text, ot_text_free);
  g_array_unref(device->keys);
  g_bytes_unref(device->disk.pair);
  g_free(device->disk.text);
}

void
sim_device_kill(SimWorld *world, guint who)
{
  SimDevice *device = &world->devices[who];
  if (!device->pair)
    return;
  world->counts->device_kills++;
  g_clear_pointer(&device->pair, doc_pair_free);
  g_clear_pointer(&device->text, ot_text_free);
  g_array_set_size(device->keys, device->disk.keys);
  if (device->link)
    sim_link_close(&world->net, device->link, 0);
  device->link = NULL;
  device->back_at = world->net.now + sim_pick(&world->net, 80);
}

static void
come_up(SimDevice *device)
{
  g_autoptr(GError) error = NULL;
  gsize length;
  const void *data = g_bytes_get_data(device->disk.pair, &length);
  device->pair = doc_pair_load(DOC_PAIR_DEVICE, data, length, &error);
  g_assert_no_error(error);
  device->text = ot_text_new();
  ot_text_insert(device->text, 0, device->disk.text, strlen(device->disk.text),
                 (gsize)g_utf8_strlen(device->disk.text, -1));
  g_assert_cmpuint(doc_pair_length(device->pair), ==, ot_text_length(device->text));
}

static gboolean
dies(SimWorld *world, guint who)
{
  if (world->calm || !sim_chance(&world->net, 60))
    return FALSE;
  sim_device_kill(world, who);
  return TRUE;
}

/* In the order that pair.h wants: changed, asked, saved, sent. */
static void
say(SimWorld *world, guint who)
{
  SimDevice *device = &world->devices[who];
  while (device->link) {
    g_autoptr(GBytes) message = doc_pair_next(device->pair);
    if (!message || dies(world, who))
      return;
    save(device);
    if (dies(world, who))
      return;
    sim_link_send(&world->net, device->link, 0, message);
  }
}

static void
open_link(SimWorld *world, guint who)
{
  SimDevice *device = &world->devices[who];
  device->link = sim_link_open(&world->net, TO_CLONE, who);
  doc_pair_begin(device->pair);
}

void
sim_device_step(SimWorld *world, guint who)
{
  SimDevice *device = &world->devices[who];
  if (device->back_at <= world->net.now && !device->pair)
    come_up(device);
  if (device->pair && !device->link && device->back_at <= world->net.now)
    open_link(world, who);
  if (device->pair)
    say(world, who);
}

/* It is elsewhere: a new link is there before anybody has noticed that the old one is gone. */
void
sim_device_roam(SimWorld *world, guint who)
{
  SimDevice *device = &world->devices[who];
  if (!device->link)
    return;
  world->counts->roams++;
  if (sim_chance(&world->net, 2))
    sim_link_cut(&world->net, device->link);
  device->link->ends[0].closed = TRUE;
  open_link(world, who);
}

static void
note_key(SimDevice *device, gunichar letter, gboolean deleted)
{
  SimKey key = {letter, deleted};
  g_array_append_val(device->keys, key);
}

/* Some letters over others, mostly where others type, too; at times much of it. */
void
sim_device_type(SimWorld *world, guint who)
{
  SimDevice *device = &world->devices[who];
  SimNet *net = &world->net;
  if (!device->pair)
    return;
  gsize length = ot_text_length(device->text);
  gsize at = sim_chance(net, 2) ? length / 2 : sim_pick(net, (guint)length + 1);
  guint most = sim_chance(net, 20) ? 40 : 4;
  guint deleted = sim_chance(net, 3) ? sim_pick(net, MIN(most, (guint)(length - at)) + 1) : 0;
  g_autoptr(GString) typed = g_string_new(NULL);
  g_autofree char *gone = ot_text_copy(device->text, at, deleted, NULL);
  for (const char *c = gone; *c; c = g_utf8_next_char(c))
    note_key(device, g_utf8_get_char(c), TRUE);
  for (guint count = 1 + sim_pick(net, most); count > 0; count--) {
    gunichar letter = sim_letter(world->next_letter++);
    note_key(device, letter, FALSE);
    g_string_append_unichar(typed, letter);
  }
  g_autoptr(OtOp) op = ot_op_new_edit(at, deleted, typed->str, typed->len);
  g_autoptr(GError) error = NULL;
  g_assert_true(ot_op_apply(op, device->text, NULL));
  doc_pair_edit(device->pair, op, &error);
  g_assert_no_error(error);
  if (!sim_chance(net, 4))
    save(device);
}

void
sim_device_hear(SimWorld *world, SimLink *link, SimWhat what, GBytes *message)
{
  SimDevice *device = &world->devices[link->who];
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) shown = NULL;
  gsize length;
  g_assert_true(link == device->link);
  if (what == SIM_GONE) {
    device->link = NULL;
    device->back_at = world->net.now + sim_pick(&world->net, 30);
    return;
  }
  const void *data = g_bytes_get_data(message, &length);
  if (!doc_pair_take(device->pair, data, length, &shown, &error)) {
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
    world->counts->refused++;
    sim_link_close(&world->net, link, 0);
    device->link = NULL;
    return;
  }
  if (shown)
    g_assert_true(ot_op_apply(shown, device->text, NULL));
  g_assert_cmpuint(doc_pair_length(device->pair), ==, ot_text_length(device->text));
}
