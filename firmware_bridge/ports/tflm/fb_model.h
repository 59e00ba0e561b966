/*! @file
 * What a model of VitalEdge wants to see and how its answer becomes a label, in plain C99: no heap, no state, no TFLM.
 *
 *   raw values --fb_model_put_*--> int8 inputs --(TensorFlow Lite Micro)--> int8 output --fb_model_decide--> label
 *
 * The constants come from `vitaledge-convert emit-c`, which writes one `const fb_model_t` per model.  Every function
 * computes as the gateway does (edge/inference/), bit for bit where floating point is not contracted: compile with
 * `-std=c99` or `-ffp-contract=off`.
 *
 * Thread safety: the functions keep nothing between calls; what they write to belongs to the caller.
 */
#ifndef FB_MODEL_H
#define FB_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*! TensorFlow Lite Micro reads weights in place and needs them aligned. */
#if defined(__GNUC__) || defined(__clang__)
#define FB_MODEL_ALIGNED __attribute__((aligned(16)))
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define FB_MODEL_ALIGNED _Alignas(16)
#elif defined(__ICCARM__)
#define FB_MODEL_ALIGNED _Pragma("data_alignment=16")
#else
#error "tell FB_MODEL_ALIGNED how this compiler aligns an array to 16 bytes"
#endif

/*! No label: the model cannot tell. */
#define FB_MODEL_NO_LABEL SIZE_MAX
/*! Labels of the largest model; a longer list is refused by emit-c. */
#define FB_MODEL_LABELS_MAX 32u

typedef enum {
  FB_MODEL_OK = 0,
  FB_MODEL_WRONG_LENGTH,   /*!< not as many values as the input holds */
  FB_MODEL_NOT_A_NUMBER,   /*!< a sample is NaN: there is no integer for "unknown" */
  FB_MODEL_FLAT,           /*!< a channel is flat: there is nothing to normalise */
  FB_MODEL_WRONG_KIND,     /*!< samples given to an input of features, or the other way round */
} fb_model_status_t;

typedef enum {
  FB_MODEL_SAMPLES,   /*!< a stretch of the signal */
  FB_MODEL_FEATURES,  /*!< named numbers */
  FB_MODEL_TENSOR,    /*!< anything else; its values go in as they are */
} fb_model_kind_t;

/*! One named number: knots are quantiles of the training population, strictly ascending. */
typedef struct {
  const char *name;
  size_t n_knots; /*!< at least 2 */
  const double *knots;
} fb_model_feature_t;

typedef struct {
  const char *name;
  size_t index; /*!< position among the inputs of the model file: TFLM binds by position */
  fb_model_kind_t kind;
  size_t n_values;
  float scale; /*!< real value of one step */
  int32_t zero_point;
  /* samples */
  size_t n_samples;
  size_t n_channels;
  double rate_hz;
  const char *unit; /*!< UCUM unit before normalising */
  bool is_z_scored; /*!< each channel has its mean taken off and is divided by its standard deviation */
  /* features */
  size_t n_features;
  const fb_model_feature_t *features;
} fb_model_input_t;

/*! An input with the answers that the model must give here too. */
typedef struct {
  const int8_t *const *inputs; /*!< in the order of fb_model_t.inputs */
  const int8_t *gateway;       /*!< what the gateway's runtime answered */
  const int8_t *micro;         /*!< what TFLM's own kernels answered on a workstation; NULL where it was not run */
} fb_model_golden_t;

typedef struct {
  const char *name;
  const char *version;
  uint64_t release; /*!< only ever goes up: refuse an older one */
  const char *task; /*!< "beat", "rhythm" or "other" */
  const char *bundle_sha256;
  const char *model_sha256;
  const char *preprocessing; /*!< JSON: which stage makes the windows, with its settings */
  const unsigned char *data; /*!< the TFLite file */
  size_t data_len;
  size_t n_inputs;
  const fb_model_input_t *inputs;
  const char *output_name;
  size_t n_labels;
  const char *const *labels;
  float output_scale;
  int32_t output_zero_point;
  bool is_softmax; /*!< the output is probabilities, whose logarithm stands for the logits */
  double temperature;
  const double *biases;     /*!< of each label, added to its logit */
  const double *thresholds; /*!< of each label, smallest probability at which it is said */
  double span_s;            /*!< decide on the mean of the logits of so many seconds; 0: each window by itself */
  bool has_min_energy;
  double min_energy; /*!< below it nothing is familiar: no label */
  bool has_max_outside;
  double max_outside; /*!< share of features outside their knots above which nothing is familiar */
  size_t arena_bytes; /*!< working memory of TFLM, measured with 64-bit pointers; 0 where it was not */
} fb_model_t;

typedef struct {
  size_t label; /*!< index into labels, or FB_MODEL_NO_LABEL */
  size_t best;  /*!< the likeliest label, whether it is said or not */
  double energy;
  double probabilities[FB_MODEL_LABELS_MAX];
} fb_model_decision_t;

/*! Return the int8 that stands for a real value: halves away from zero, ends at -128 and 127.  NaN is the caller's to
 * exclude; it gives the zero point. */
int8_t fb_model_quantize(float value, float scale, int32_t zero_point);

/*! Return a feature's place among the training population, -1 to 1; 0 where it is unknown (NaN). */
float fb_model_scale_feature(const fb_model_feature_t *feature, double value);

/*! Write raw features, in the order of input->features, NaN where unknown, as the int8 input `out` of n_values. */
fb_model_status_t fb_model_put_features(const fb_model_input_t *input, const double *values, size_t n_values,
                                        int8_t *out);

/*! Write a window, sample by sample and within a sample channel by channel, as the int8 input `out` of n_values. */
fb_model_status_t fb_model_put_samples(const fb_model_input_t *input, const double *values, size_t n_values,
                                       int8_t *out);

/*! Return the share of features that are known and lie outside their knots, of all features. */
double fb_model_outside(const fb_model_input_t *input, const double *values);

/*! Write the logits that an int8 output stands for, n_labels of them, before bias and temperature. */
void fb_model_logits(const fb_model_t *model, const int8_t *output, double *logits);

/*! Return what logits (of one window, or the mean over several) lead to.  outside: from fb_model_outside, 0 without. */
fb_model_decision_t fb_model_decide(const fb_model_t *model, const double *logits, double outside);

#ifdef __cplusplus
}
#endif

#endif /* FB_MODEL_H */
