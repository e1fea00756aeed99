/**
 * What a process needs of its host and Java cannot give: our native library, and the environment that other native libraries read.
 * Below both back ends.
 */
package io.brazier.host;
