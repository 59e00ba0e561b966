// See micro_op_resolver.h.
#ifndef TFLM_API_MICRO_MUTABLE_OP_RESOLVER_H
#define TFLM_API_MICRO_MUTABLE_OP_RESOLVER_H

#include "tensorflow/lite/micro/micro_op_resolver.h"

namespace tflite {
template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  TfLiteStatus AddAdd() { return Added(); }
  TfLiteStatus AddConv2D() { return Added(); }
  TfLiteStatus AddExpandDims() { return Added(); }
  TfLiteStatus AddFullyConnected() { return Added(); }
  TfLiteStatus AddMean() { return Added(); }
  TfLiteStatus AddReshape() { return Added(); }
  TfLiteStatus AddSoftmax() { return Added(); }

 private:
  TfLiteStatus Added() { return ++n_added_ <= tOpCount ? kTfLiteOk : kTfLiteError; }
  unsigned int n_added_ = 0;
};
}  // namespace tflite

#endif
