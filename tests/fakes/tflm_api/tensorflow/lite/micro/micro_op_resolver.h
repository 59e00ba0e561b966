// A stand-in for TensorFlow Lite Micro's interface, as far as the port uses it; nothing is computed.
#ifndef TFLM_API_MICRO_OP_RESOLVER_H
#define TFLM_API_MICRO_OP_RESOLVER_H

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

namespace tflite {
class MicroOpResolver {
 public:
  virtual ~MicroOpResolver() = default;
};
}  // namespace tflite

#endif
