/* What is no directory comes to its place: looked at, and told as metadata, as another name of what was told
 * already, or as a content. */
#pragma once

#include "replica/generation_steps_private.h"

/* Tells what is at the change's path. FALSE: something else must be told to the end before, and this is to be
 * asked for again. */
gboolean generation_fill(GenerationSteps *steps, const TreeChange *change);

/* What else the clone has that the change's file may be like, or NONE. */
gint64 generation_fill_basis(GenerationSteps *steps, const TreeChange *change);
