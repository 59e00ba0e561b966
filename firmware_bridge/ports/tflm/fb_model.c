/*! @file
 * Scaling, quantizing and deciding as the gateway does; see fb_model.h. */
#include "fb_model.h"

#include <math.h>

/* A channel that moves by less than this share of its largest value is flat: a filter's tail is no signal. */
#define FB_MODEL_FLAT_RATIO 1e-9
/* Stands for a probability that int8 cannot tell from 0: half a step of 1/256. */
#define FB_MODEL_LEAST_PROBABILITY (1.0 / 512.0)

int8_t fb_model_quantize(float value, float scale, int32_t zero_point) {
  const float steps = value / scale;
  if (isnan(steps)) {
    return (int8_t)zero_point;
  }
  /* Bounded before it becomes an integer: no overflow, whatever comes. */
  const float lowest = (float)(-128 - zero_point - 1);
  const float highest = (float)(127 - zero_point + 1);
  const float bounded = steps < lowest ? lowest : (steps > highest ? highest : steps);
  /* Not floor(x + 0.5): that sum is rounded too, and 0.49999997 would become 1. */
  const float whole = truncf(bounded);
  int32_t rounded = (int32_t)whole;
  if (fabsf(bounded - whole) >= 0.5f) {
    rounded += signbit(bounded) ? -1 : 1;
  }
  const int32_t placed = rounded + zero_point;
  return (int8_t)(placed < -128 ? -128 : (placed > 127 ? 127 : placed));
}

/* Height of a knot: evenly from -1 to 1, the last exactly. */
static double height(size_t knot, size_t n_knots) {
  return knot == n_knots - 1u ? 1.0 : (double)knot * (2.0 / (double)(n_knots - 1u)) + -1.0;
}

float fb_model_scale_feature(const fb_model_feature_t *feature, double value) {
  const double *knots = feature->knots;
  const size_t last = feature->n_knots - 1u;
  if (isnan(value)) {
    return 0.0f;
  }
  if (value < knots[0]) {
    return -1.0f;
  }
  if (value >= knots[last]) {
    return 1.0f;
  }
  size_t low = 0u, high = last; /* knots[low] <= value < knots[high] */
  while (high - low > 1u) {
    const size_t middle = low + (high - low) / 2u;
    if (knots[middle] <= value) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const double from = height(low, feature->n_knots);
  const double slope = (height(high, feature->n_knots) - from) / (knots[high] - knots[low]);
  return (float)(slope * (value - knots[low]) + from);
}

fb_model_status_t fb_model_put_features(const fb_model_input_t *input, const double *values, size_t n_values,
                                        int8_t *out) {
  if (input->kind != FB_MODEL_FEATURES) {
    return FB_MODEL_WRONG_KIND;
  }
  if (n_values != input->n_features) {
    return FB_MODEL_WRONG_LENGTH;
  }
  for (size_t k = 0u; k < n_values; k++) {
    const float scaled = fb_model_scale_feature(&input->features[k], values[k]);
    out[k] = fb_model_quantize(scaled, input->scale, input->zero_point);
  }
  return FB_MODEL_OK;
}

double fb_model_outside(const fb_model_input_t *input, const double *values) {
  size_t n_outside = 0u;
  for (size_t k = 0u; k < input->n_features; k++) {
    const fb_model_feature_t *feature = &input->features[k];
    /* NaN is neither below nor above. */
    if (values[k] < feature->knots[0] || values[k] > feature->knots[feature->n_knots - 1u]) {
      n_outside++;
    }
  }
  return input->n_features == 0u ? 0.0 : (double)n_outside / (double)input->n_features;
}

/* Mean and standard deviation of one channel; false where it is flat or not finite. */
static bool spread_of(const double *values, size_t n_samples, size_t n_channels, double *mean, double *deviation) {
  double sum = 0.0, largest = 0.0;
  for (size_t k = 0u; k < n_samples; k++) {
    const double value = values[k * n_channels];
    sum += value;
    largest = fabs(value) > largest ? fabs(value) : largest;
  }
  *mean = sum / (double)n_samples;
  double squares = 0.0;
  for (size_t k = 0u; k < n_samples; k++) {
    const double centred = values[k * n_channels] - *mean;
    squares += centred * centred;
  }
  *deviation = sqrt(squares / (double)n_samples);
  return isfinite(*deviation) && *deviation > FB_MODEL_FLAT_RATIO * largest;
}

fb_model_status_t fb_model_put_samples(const fb_model_input_t *input, const double *values, size_t n_values,
                                       int8_t *out) {
  if (input->kind == FB_MODEL_FEATURES) {
    return FB_MODEL_WRONG_KIND;
  }
  if (n_values != input->n_values) {
    return FB_MODEL_WRONG_LENGTH;
  }
  for (size_t k = 0u; k < n_values; k++) {
    if (isnan(values[k])) {
      return FB_MODEL_NOT_A_NUMBER;
    }
  }
  if (!input->is_z_scored) {
    for (size_t k = 0u; k < n_values; k++) {
      out[k] = fb_model_quantize((float)values[k], input->scale, input->zero_point);
    }
    return FB_MODEL_OK;
  }
  for (size_t channel = 0u; channel < input->n_channels; channel++) {
    double mean = 0.0, deviation = 0.0;
    if (!spread_of(values + channel, input->n_samples, input->n_channels, &mean, &deviation)) {
      return FB_MODEL_FLAT;
    }
    for (size_t k = channel; k < n_values; k += input->n_channels) {
      out[k] = fb_model_quantize((float)((values[k] - mean) / deviation), input->scale, input->zero_point);
    }
  }
  return FB_MODEL_OK;
}

void fb_model_logits(const fb_model_t *model, const int8_t *output, double *logits) {
  for (size_t k = 0u; k < model->n_labels; k++) {
    const float steps = (float)((int32_t)output[k] - model->output_zero_point);
    const double real = (double)(steps * model->output_scale);
    if (model->is_softmax) {
      logits[k] = log(real > FB_MODEL_LEAST_PROBABILITY ? real : FB_MODEL_LEAST_PROBABILITY);
    } else {
      logits[k] = real;
    }
  }
}

/* Logarithm of the sum of the exponentials: small where nothing is familiar. */
static double energy_of(const double *logits, size_t n_labels) {
  double largest = logits[0];
  for (size_t k = 1u; k < n_labels; k++) {
    largest = logits[k] > largest ? logits[k] : largest;
  }
  double total = 0.0;
  for (size_t k = 0u; k < n_labels; k++) {
    total += exp(logits[k] - largest);
  }
  return log(total) + largest;
}

fb_model_decision_t fb_model_decide(const fb_model_t *model, const double *logits, double outside) {
  fb_model_decision_t found = {.label = FB_MODEL_NO_LABEL, .best = 0u};
  double raised[FB_MODEL_LABELS_MAX];
  double largest = -INFINITY;
  for (size_t k = 0u; k < model->n_labels; k++) {
    raised[k] = (logits[k] + model->biases[k]) / model->temperature;
    if (raised[k] > largest) { /* the first of equals stays */
      largest = raised[k];
      found.best = k;
    }
  }
  double total = 0.0;
  for (size_t k = 0u; k < model->n_labels; k++) {
    found.probabilities[k] = exp(raised[k] - largest);
    total += found.probabilities[k];
  }
  for (size_t k = 0u; k < model->n_labels; k++) {
    found.probabilities[k] /= total;
  }
  found.energy = energy_of(logits, model->n_labels);
  const bool is_unfamiliar = (model->has_min_energy && found.energy < model->min_energy) ||
                             (model->has_max_outside && outside > model->max_outside);
  if (!is_unfamiliar && found.probabilities[found.best] >= model->thresholds[found.best]) {
    found.label = found.best;
  }
  return found;
}
