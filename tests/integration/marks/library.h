/* A library that marks one of its functions. */
#pragma once

double library_sum(int from, int to);
double library_difference(int from, int to);
