setenv CONTAINERROOT $place
setenv RUNSCRIPTS $place/bin
# Which of them was loaded is not known any more where it is unloaded.
foreach each [expr {[module-info mode unload] ? $places : [list $place]}] {
    prepend-path PATH $each/bin
}
