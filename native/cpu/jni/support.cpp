#include "support.h"

#include <string>

namespace brazier {

void throwJava(JNIEnv* env, const char* exceptionClass, const char* message) {
    if (env->ExceptionCheck()) {
        return;
    }
    jclass type = env->FindClass(exceptionClass);
    if (type != nullptr) {
        env->ThrowNew(type, message);
    }
}

bool refuseNull(JNIEnv* env, const char* function, std::initializer_list<jlong> required) {
    int index = 0;
    for (jlong address : required) {
        if (address == 0) {
            std::string message = std::string("CpuNative.") + function + ": required operand "
                + std::to_string(index) + " (counted among the required ones) is at address 0: allocate it first";
            throwJava(env, "java/lang/IllegalArgumentException", message.c_str());
            return true;
        }
        index++;
    }
    return false;
}

}  // namespace brazier
